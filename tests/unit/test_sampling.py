"""The stated interval covers the truth with the stopping rule in force, on series of known median."""

import numpy as np
import pytest

from hwfit.series import exceedance_verdict
from hwfit.worker import sampling
from hwfit.worker.sampling import StoppingRule, median_interval

TRIALS = 1000
CALL_MS = 10
RULE = StoppingRule(relative_ci=0.05, min_seconds=1.0, max_seconds=10)
LENGTH = 1600


def autoregressive(generator, coefficient):
    """A Gaussian AR(1) series with 10% relative deviation around CALL_MS."""
    noise = generator.standard_normal(LENGTH) * np.sqrt(1 - coefficient**2)
    series = np.empty(LENGTH)
    series[0] = generator.standard_normal()
    for i in range(1, LENGTH):
        series[i] = coefficient * series[i - 1] + noise[i]
    return CALL_MS * (1 + 0.1 * series)


def bursty(generator, calls):
    """A quarter of the time in bursts of so many calls on average, 30% slower."""
    series = CALL_MS * (1 + 0.05 * generator.standard_normal(LENGTH))
    position = int(generator.exponential(3 * calls))
    while position < LENGTH:
        length = max(1, int(generator.exponential(calls)))
        series[position : position + length] *= 1.3
        position += length + int(generator.exponential(3 * calls))
    return series


SERIES = {
    "independent": (lambda g: CALL_MS * (1 + 0.1 * g.standard_normal(LENGTH)), CALL_MS, 0.93),
    "skewed": (lambda g: 8 + 2 * g.exponential(size=LENGTH), 8 + 2 * np.log(2), 0.93),
    "heavy-tailed": (lambda g: CALL_MS * np.exp(0.05 * g.standard_t(2, LENGTH)), CALL_MS, 0.93),
    "ar 0.3": (lambda g: autoregressive(g, 0.3), CALL_MS, 0.90),
    "ar 0.6": (lambda g: autoregressive(g, 0.6), CALL_MS, 0.90),
    "bursts of 50 ms": (lambda g: bursty(g, 5), None, 0.90),
    "bursts of 250 ms": (lambda g: bursty(g, 25), None, 0.90),
    "bursts of 500 ms": (lambda g: bursty(g, 50), None, 0.90),
    "bursts of 900 ms": (lambda g: bursty(g, 90), None, 0.90),
}


def sampled(series_ms, rule):
    """What `sample` takes from a series of call times, by a clock that the calls move."""
    elapsed = [0]
    durations = iter((np.clip(series_ms, 0.1, 1e5) * 1e6).astype(int).tolist())

    def run(_):
        elapsed[0] += next(durations)

    return sampling.sample(run, [None], rule, clock=lambda: elapsed[0])[0] * 1e3


def interval_of(samples_ms):
    return median_interval(samples_ms, samples_ms.sum() / 1e3)


@pytest.mark.parametrize("name", SERIES)
def test_interval_covers_the_true_median_with_the_stopping_rule_in_force(name):
    make, truth, least = SERIES[name]
    generator = np.random.default_rng(7)
    if truth is None:
        truth = float(np.median(np.concatenate([make(generator) for _ in range(300)])))
    covered = 0
    for _ in range(TRIALS):
        interval = interval_of(sampled(make(generator), RULE))
        covered += interval.low <= truth <= interval.high
    assert covered / TRIALS >= least


def test_correlated_samples_are_worth_fewer_independent_ones():
    generator = np.random.default_rng(0)
    independent = median_interval(CALL_MS * (1 + 0.1 * generator.standard_normal(LENGTH)), np.inf)
    correlated = median_interval(autoregressive(generator, 0.9), np.inf)
    assert independent.effective_samples > 0.7 * LENGTH
    assert correlated.effective_samples < 0.2 * LENGTH
    assert correlated.high - correlated.low > 2 * (independent.high - independent.low)


def test_a_series_without_a_burst_promises_no_more_than_its_time():
    quiet = CALL_MS * (1 + 0.1 * np.random.default_rng(0).standard_normal(1000))
    short, long = median_interval(quiet, 0.5), median_interval(quiet, 50.0)
    assert short.effective_samples == pytest.approx(0.5 / sampling.BURST_SECONDS)
    assert long.effective_samples == long.independent_samples
    assert short.high - short.low > 3 * (long.high - long.low)


def test_sampling_takes_the_minimum_time_even_when_nothing_varies():
    durations = sampled(np.full(LENGTH, float(CALL_MS)), RULE)
    assert durations.sum() >= 1000
    assert durations.sum() < 1100


def test_sampling_stops_at_the_maximum_time_when_the_interval_stays_wide():
    generator = np.random.default_rng(0)
    durations = sampled(CALL_MS * np.exp(generator.standard_normal(LENGTH)), StoppingRule(0.001, 1, 5))
    assert 5000 <= durations.sum() < 5200


def test_sampling_goes_on_until_a_limit_on_a_percentile_is_decided():
    """Calls whose median is known at once, and of which a tenth lie about the limit."""

    def sampled(limits):
        generator = np.random.default_rng(0)
        elapsed = [0]

        def run(_):
            elapsed[0] += int((20 if generator.random() < 0.07 else 10) * 1e6)

        rule = StoppingRule(0.02, 1.0, 60.0, limits)
        return sampling.sample(run, [None], rule, clock=lambda: elapsed[0])[0]

    assert sampled(()).sum() < 2
    assert sampled(((0.90, 1.0),)).sum() < 2
    undecided = sampled(((0.90, 0.015),))
    assert 2 < undecided.sum() < 60
    assert exceedance_verdict(undecided, 0.015, 0.90) == "met"


def test_slow_calls_are_sampled_a_few_times_all_the_same():
    durations = sampled(np.full(20, 30_000.0), RULE)
    assert len(durations) == sampling.MINIMUM_SAMPLES


@pytest.mark.parametrize(("percentile", "needed"), [(0.5, 5), (0.90, 29), (0.99, 299)])
def test_a_percentile_is_given_only_when_enough_samples_prove_it(percentile, needed):
    assert sampling.samples_that_prove(percentile) == needed
    samples = np.arange(needed, dtype=float)
    assert sampling.proven_percentile(samples[:-1], percentile) is None
    assert sampling.proven_percentile(samples, percentile) == pytest.approx(np.quantile(samples, percentile))


def test_few_samples_prove_no_interval():
    interval = interval_of(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert not interval.proven
    assert (interval.low, interval.high) == (1.0, 5.0)


def test_warm_up_goes_on_while_calls_get_faster():
    elapsed = [0]
    calls = iter([int(1e6 * max(10, 100 - 2 * i)) for i in range(1000)])

    def run(_):
        elapsed[0] += next(calls)

    count, steady = sampling.warm_up(run, [None], max_seconds=60, clock=lambda: elapsed[0])
    assert steady
    assert count > 45


def test_warm_up_that_never_gets_steady_says_so():
    elapsed = [0]
    calls = iter([int(1e9 / (i + 1)) for i in range(100_000)])

    def run(_):
        elapsed[0] += next(calls)

    assert sampling.warm_up(run, [None], max_seconds=5, clock=lambda: elapsed[0])[1] is False


def test_outputs_of_every_input_are_kept_for_checking():
    elapsed = [0]

    def run(placed):
        elapsed[0] += int(20e6)
        return placed * 10

    durations, outputs = sampling.sample(run, [1, 2, 3], RULE, clock=lambda: elapsed[0])
    assert outputs == [10, 20, 30]
    assert len(durations) >= sampling.MINIMUM_SAMPLES_TO_STOP
