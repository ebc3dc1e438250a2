"""What the rounds at hand can find, how many a difference needs, and that both hold in simulated runs."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, nct, t

from compared import make_row, make_run
from hwfit.compare import compare
from hwfit.device_spread import DeviceSpread, learn
from hwfit.power import critical_value, detectable_difference, power, rounds_needed
from hwfit.uncertainty import ASSUMED_SPREAD, Spread

ROUNDS_OF_PILOT = 3
# A share of trials may miss its goal by luck; so rarely would it, were the goal met.
LUCK = 0.001


EVEN = DeviceSpread(0.02, math.inf, 1000)


@pytest.mark.parametrize(("comparisons", "spread"), [(1, 0.02), (50, 0.03)])
def test_of_one_row_with_a_spread_that_is_known_power_is_that_of_the_noncentral_t(comparisons, spread):
    for rounds in (3, 10, 30):
        degrees, shift = 2 * (rounds - 1), math.log(1.05) / (spread * math.sqrt(2 / rounds))
        exact = nct.sf(critical_value(degrees, comparisons), degrees, shift)
        found = power(Spread(spread, 1_000_000), EVEN, 0.05, rounds, comparisons, rows=1)
        assert found == pytest.approx(exact, abs=0.01)


def test_a_spread_known_from_few_processes_asks_for_more_rounds():
    device = learn([[[10.0, 10.2]], [[10.0, 10.1]]])
    needed = [rounds_needed(Spread(0.02, d), device, 0.05, 8, 8) for d in (4, 30, 1000)]
    assert needed == sorted(needed, reverse=True)
    assert needed[0] > needed[2]


def test_smaller_differences_and_more_comparisons_take_more_rounds():
    device = learn([[[10.0, 10.2]], [[10.0, 10.1]]])
    spread = Spread(0.02, 100)
    by_difference = [rounds_needed(spread, device, d, 8, 8) for d in (0.2, 0.05, 0.02)]
    by_count = [rounds_needed(spread, device, 0.05, m, 8) for m in (1, 10, 100)]
    assert by_difference == sorted(by_difference) and by_difference[0] < by_difference[2]
    assert by_count == sorted(by_count) and by_count[0] < by_count[2]


def test_what_a_thousand_rounds_do_not_find_is_said_to_take_too_many():
    assert rounds_needed(Spread(0.5, 100), EVEN, 0.001, 8, 8) is None


def test_a_difference_of_the_size_that_is_said_to_be_found_is_found():
    generator, degrees, trials = np.random.default_rng(5), 12, 20_000
    estimated = np.sqrt(generator.chisquare(degrees, trials) / degrees)
    # The size of a difference that a given estimate calls detectable, beside the true error of 1.
    claimed = np.log1p([detectable_difference(e, degrees, 10) for e in estimated[:2000]])
    statistic = (claimed + generator.standard_normal(2000)) / estimated[:2000]
    found = int((statistic > critical_value(degrees, 10)).sum())
    assert binomtest(found, 2000, 0.95).pvalue > LUCK


def test_spreads_that_differ_by_chance_alone_are_pooled():
    device = learn(make_groups([0.03] * 200))
    assert device.relative == pytest.approx(0.03, rel=0.1)
    assert device.weight > 15
    assert device.spread_of([[1.0], [1.1]]).relative == device.relative


def test_a_row_is_never_taken_to_be_calmer_than_the_device_nor_than_itself():
    groups = make_groups([0.01] * 100 + [0.1] * 100)
    device = learn(groups)
    assert device.weight < 10
    calm, restless = (device.spread_of(group) for group in (groups[0], groups[-1]))
    assert calm.relative == device.relative == pytest.approx(0.07, rel=0.1)
    assert restless.relative >= device.relative
    assert calm.degrees < 14 < device.total


def test_without_any_row_of_several_processes_the_spread_is_assumed():
    device = learn([[[10.0], [11.0]], []])
    assert device.is_assumed
    assert device.spread_of([[10.0], [11.0]]) == ASSUMED_SPREAD


def test_medians_that_agree_to_the_last_digit_do_not_break_it():
    groups = [[[10.0, 10.0, 10.0]]] * 3 + [[[10.0, 10.2, 9.8]]] * 4
    assert 0 < learn(groups).relative < 0.1
    assert learn([[[10.0, 10.0]]] * 5).relative == 0


def make_groups(spreads, rounds=3):
    """Medians of both sides of rows whose processes lie so far apart."""
    generator = np.random.default_rng(1)
    return [np.exp(generator.normal(0, spread, (2, rounds))).tolist() for spread in spreads]


def simulate(generator, spreads, rounds, planted=0.0):
    """Two runs of rows whose processes lie as far apart as `spreads` says; the first row may be slower."""
    sides = []
    for shift in (0.0, math.log1p(planted)):
        noise = generator.standard_normal((len(spreads), rounds)) * np.array(spreads)[:, None]
        noise[0] += shift
        rows = zip(range(len(spreads)), np.exp(noise) * 10, strict=True)
        sides.append(make_run(*(make_row(batch_size=i + 1, paces_ms=p.tolist()) for i, p in rows)))
    return sides


def share_found(trials, seed, spreads, rounds, planted=0.0):
    """In how many trials the first row is found worse, and in how many anything is called different."""
    generator = np.random.default_rng(seed)
    found = alarms = 0
    for _ in range(trials):
        there, here = simulate(generator, spreads, rounds, planted)
        verdicts = {line.batch_size: line.verdict for line in compare(here, there).lines}
        found += verdicts[1] == "worse"
        alarms += any(verdict != "no_difference" for verdict in verdicts.values())
    return found, alarms


def named_rounds(spread, comparisons):
    """The rounds that the power calculation names for 5% where the spread is well known."""
    return rounds_needed(Spread(spread, 100_000), EVEN, 0.05, comparisons, comparisons)


@pytest.mark.parametrize(("spread", "comparisons"), [(0.01, 4), (0.03, 8)])
def test_with_the_rounds_that_it_names_a_planted_difference_is_found_in_95_percent(spread, comparisons):
    rounds = named_rounds(spread, comparisons)
    trials = 1000
    found, _ = share_found(trials, 7, [spread] * comparisons, rounds, planted=0.05)
    assert binomtest(found, trials, 0.95, alternative="less").pvalue > LUCK


@pytest.mark.parametrize(
    ("spreads", "rounds"),
    [([0.03] * 8, 3), ([0.03] * 8, 12), ([0.01] * 4 + [0.1] * 4, 3), ([0.05] * 6, 2), ([0.02] * 3, 3)],
)
def test_with_nothing_planted_at_most_5_percent_of_runs_raise_an_alarm(spreads, rounds):
    trials = 1000
    _, alarms = share_found(trials, 11, spreads, rounds)
    assert binomtest(alarms, trials, 0.05, alternative="greater").pvalue > LUCK


def test_rounds_named_from_a_short_pilot_run_find_the_difference_too():
    """What a user does: measure, read how many rounds it takes, and measure twice with so many."""
    generator, spread, rows, trials = np.random.default_rng(13), 0.02, 6, 400
    found = 0
    for _ in range(trials):
        there, here = simulate(generator, [spread] * rows, ROUNDS_OF_PILOT)
        comparison = compare(here, there)
        test = next(line.test for line in comparison.lines if line.batch_size == 1)
        rounds = rounds_needed(test.spread, comparison.devices["cpu"], 0.05, rows, rows)
        there, here = simulate(generator, [spread] * rows, rounds, planted=0.05)
        found += next(line.verdict for line in compare(here, there).lines if line.batch_size == 1) == "worse"
    assert binomtest(found, trials, 0.95, alternative="less").pvalue > LUCK


def test_simultaneous_intervals_cover_every_ratio_in_95_percent_of_runs():
    generator, trials, covered = np.random.default_rng(17), 300, 0
    for _ in range(trials):
        there, here = simulate(generator, [0.03] * 8, 4)
        tests = [line.test for line in compare(here, there).lines]
        covered += all(test.low <= 1 <= test.high for test in tests)
    assert binomtest(covered, trials, 0.95, alternative="less").pvalue > LUCK


def test_the_critical_value_is_that_of_bonferronis_two_sided_test():
    assert critical_value(20, 1) == pytest.approx(t.ppf(0.975, 20))
    assert critical_value(20, 10) == pytest.approx(t.ppf(1 - 0.0025, 20))
