"""The energy under a trace of power samples, and the reasons for which there is none."""

import math

import numpy as np
import pytest

from hwfit.worker.meters.trace import Demands, energy_of

DEMANDS = Demands(resolution_s=5.0, most_gap_s=0.5)


def sampled(power, start_s=-0.07, end_s=10.09, interval_s=0.05):
    """Samples of a power over time."""
    return [(float(at), float(power(at))) for at in np.arange(start_s, end_s, interval_s)]


def codes(samples, demands=DEMANDS, end_s=10.0):
    energy_j, flags, _ = energy_of(samples, 0.0, end_s, demands)
    assert energy_j is None
    return [flag.code for flag in flags]


@pytest.mark.parametrize(
    ("power", "joules"),
    [
        (lambda at: 70.0, 700.0),
        (lambda at: 50 + 30 * at, 500 + 15 * 100),
        (lambda at: 300.0 if at % 1 < 0.5 else 60.0, 1800.0),
        (lambda at: 200 + 100 * math.sin(2 * math.pi * at), 2000.0),
    ],
    ids=["constant", "ramp", "square wave", "sine"],
)
def test_known_integrals_are_recovered(power, joules):
    energy_j, flags, gap_s = energy_of(sampled(power), 0.0, 10.0, DEMANDS)
    assert energy_j == pytest.approx(joules, rel=0.01)
    assert flags == ()
    assert gap_s == pytest.approx(0.05)


def test_power_at_both_ends_is_interpolated_between_the_samples_around_them():
    samples = sampled(lambda at: 5 + 10 * at, start_s=-0.02, end_s=6.1, interval_s=0.07)
    assert energy_of(samples, 0.0, 6.0, DEMANDS)[0] == pytest.approx(5 * 6 + 10 * 6**2 / 2)


def test_an_idle_device_before_and_after_the_work_takes_nothing_from_it():
    samples = sampled(lambda at: 300.0 if 0 <= at <= 10 else 20.0, start_s=-0.7, end_s=11.0, interval_s=0.9)
    assert energy_of(samples, 0.0, 10.0, Demands(5.0, 2.0))[0] == pytest.approx(3000.0)


def test_a_gap_leaves_no_energy_and_says_how_long():
    samples = [sample for sample in sampled(lambda at: 70.0) if not 3.0 < sample[0] < 4.0]
    energy_j, (flag,), gap_s = energy_of(samples, 0.0, 10.0, DEMANDS)
    assert energy_j is None
    assert (flag.code, flag.value) == ("energy_gap", gap_s)
    assert gap_s == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("missing", [(-1.0, 0.6), (9.4, 11.0)], ids=["start", "end"])
def test_an_end_without_samples_is_a_gap(missing):
    samples = [sample for sample in sampled(lambda at: 70.0) if not missing[0] < sample[0] < missing[1]]
    assert codes(samples) == ["energy_gap"]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 6553.5])
def test_one_impossible_sample_leaves_no_energy(value):
    samples = sampled(lambda at: 70.0)
    samples[100] = (samples[100][0], value)
    assert codes(samples) == ["energy_jump"]


def test_twice_the_power_limit_is_a_jump_where_the_limit_is_known():
    samples = sampled(lambda at: 1500.0 if 5.0 < at < 5.2 else 500.0)
    assert codes(samples, Demands(5.0, 0.5, limit_w=700.0)) == ["energy_jump"]
    assert energy_of(samples, 0.0, 10.0, DEMANDS)[0] is not None


def test_a_burst_from_idle_is_no_jump():
    energy_j, flags, _ = energy_of(sampled(lambda at: 400.0 if at > 8 else 20.0), 0.0, 10.0, DEMANDS)
    assert flags == ()
    assert energy_j == pytest.approx(8 * 20 + 2 * 400, rel=0.01)


def test_a_sensor_that_jitters_and_says_one_value_is_frozen():
    samples = sampled(lambda at: 70.0)
    assert codes(samples, Demands(5.0, 0.5, jitters=True)) == ["energy_frozen"]
    assert energy_of(samples, 0.0, 10.0, DEMANDS)[0] == pytest.approx(700.0)


def test_a_sensor_that_says_nothing_but_zero_is_frozen():
    assert codes(sampled(lambda at: 0.0)) == ["energy_frozen"]


def test_too_short_a_time_and_too_few_samples_leave_no_energy():
    assert codes(sampled(lambda at: 70.0), end_s=4.9) == ["energy_too_short"]
    assert codes([(at, 70.0) for at in range(4)], Demands(1.0, 9.0), end_s=3.0) == ["energy_too_short"]


def test_a_sensor_that_told_nothing_was_lost():
    assert codes([]) == ["energy_lost"]
