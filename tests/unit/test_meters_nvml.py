"""The energy of an NVIDIA GPU, by the real nvidia-ml-py over a fake library."""

import math

import pytest

import fake_nvml
from hwfit.worker.meters import find
from virtual_clock import metered

IDENTITY = f"cuda:{fake_nvml.UUID}"
LIMIT = {"power_limit": 700_000}


def found(identity=IDENTITY):
    (meter,), absences = find(identity)
    assert absences == []
    return meter


def reason(identity=IDENTITY):
    meters, (absence,) = find(identity)
    assert meters == []
    assert absence.source == "nvml"
    return absence.reason


def counted(gpu, start_mj, end_mj, seconds=10.0):
    """The reading of a counter that stood at one figure before the work and at another after."""
    gpu.says(energy=start_mj, **LIMIT)
    meter = found()
    times = iter([100.0, 100.0 + seconds])
    meter.now_s = lambda: next(times)
    with meter:
        gpu.says(energy=end_mj)
    return meter.reading()


def played(gpu, watts, name="power_instant", **meanwhile):
    """The reading of power that was sampled while it followed a function of the time."""

    def play(at):
        # The last digit of a real sensor is never still.
        milliwatts = round(1000 * watts(at)) + round(1000 * at) % 3
        gpu.says(**{name: milliwatts} | (meanwhile if at > 3 else {}))

    gpu.says(**LIMIT)
    play(0.0)
    return metered(found(), play)


def codes(reading):
    assert reading.energy_j is None
    return [flag.code for flag in reading.flags]


# --- Counter --------------------------------------------------------------------------------------------


def test_the_counter_is_preferred_and_read_at_both_ends(gpu):
    gpu.says(power=300_000, power_instant=300_000)
    reading = counted(gpu, 5_000_000, 5_000_000 + 2_345_000)
    assert (reading.source, reading.scope) == ("counter:nvml", "board")
    assert reading.energy_j == pytest.approx(2345.0)
    assert reading.seconds == 10.0
    assert reading.flags == ()
    assert (reading.details["start_j"], reading.details["end_j"]) == ({"board": 5000.0}, {"board": 7345.0})


@pytest.mark.parametrize(
    ("end_mj", "seconds", "code"),
    [
        (4_000, 10.0, "energy_reset"),
        (5_000_000, 10.0, "energy_frozen"),
        (5_000_000 + 20_000_000, 10.0, "energy_jump"),
        (5_000_000 + 100_000, 0.3, "energy_too_short"),
        ("!15", 10.0, "energy_lost"),
    ],
)
def test_a_counter_that_cannot_be_believed_leaves_no_energy(gpu, end_mj, seconds, code):
    reading = counted(gpu, 5_000_000, end_mj, seconds)
    assert codes(reading) == [code]
    assert reading.flags[0].message


def test_a_meter_can_be_entered_again(gpu):
    first = counted(gpu, 1_000_000, 2_000_000)
    gpu.says(energy=9_000_000)
    meter = found()
    times = iter([0.0, 10.0, 20.0, 40.0])
    meter.now_s = lambda: next(times)
    for joules in (1000, 3000):
        with meter:
            gpu.says(energy=gpu.answers["energy"] + 1000 * joules)
        assert meter.reading().energy_j == pytest.approx(joules)
    assert first.energy_j == pytest.approx(1000.0)


# --- Sampled power --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("watts", "joules"),
    [
        (lambda at: 310.0, lambda start, end: 310.0 * (end - start)),
        (lambda at: 100 + 20 * at, lambda start, end: 100 * (end - start) + 10 * (end**2 - start**2)),
        (lambda at: 400.0 if at % 2 < 1 else 80.0, lambda start, end: square(end) - square(start)),
    ],
    ids=["constant", "ramp", "square wave"],
)
def test_sampled_power_gives_the_energy_below_it(gpu, watts, joules):
    reading, start, end = played(gpu, watts)
    assert (reading.source, reading.scope) == ("sampled:nvml", "board")
    assert reading.energy_j == pytest.approx(joules(start, end), rel=0.01)
    assert reading.flags == ()
    assert reading.seconds == pytest.approx(end - start)
    assert reading.details["samples"] > 400
    assert reading.details["largest_gap_s"] == pytest.approx(0.02)


def square(at):
    """Joules until a time of the square wave of 400 W and 80 W, one second each."""
    return 480 * math.floor(at / 2) + 400 * min(at % 2, 1) + 80 * max(at % 2 - 1, 0)


def test_power_of_now_is_preferred_to_the_mean_of_the_last_second(gpu):
    gpu.says(power=999_000)
    reading, _, _ = played(gpu, lambda at: 100.0)
    assert reading.energy_j == pytest.approx(100 * reading.seconds, rel=0.01)
    assert "NVML_FI_DEV_POWER_INSTANT" in reading.details["reading"]


def test_a_mean_of_the_last_second_is_called_so(gpu):
    reading, _, _ = played(gpu, lambda at: 100.0, name="power")
    assert reading.energy_j == pytest.approx(100 * reading.seconds, rel=0.01)
    assert "mean of the last second" in reading.details["reading"]


@pytest.mark.parametrize(
    ("meanwhile", "code"),
    [
        ({"power_instant": "!15"}, "energy_lost"),
        ({"power_instant": "!4"}, "energy_permission"),
        ({"power_instant": None}, "energy_unsupported"),
        ({"power_instant": 4_294_967}, "energy_jump"),
    ],
    ids=["GPU lost", "permission withdrawn", "not supported any more", "jump"],
)
def test_a_sensor_that_fails_in_the_middle_leaves_no_energy(gpu, meanwhile, code):
    reading, _, _ = played(gpu, lambda at: 100.0, **meanwhile)
    assert codes(reading) == [code]


def test_a_sensor_that_stands_still_leaves_no_energy(gpu):
    gpu.says(power_instant=100_000)
    reading, _, _ = metered(found(), lambda at: None)
    assert codes(reading) == ["energy_frozen"]


def test_a_sensor_that_stalls_leaves_no_energy(gpu):
    gpu.says(power_instant=100_000)
    meter = found()

    def play(at):
        gpu.says(power_instant=100_000 + round(1000 * at))
        if 4 < at < 5:
            meter.clock.seconds += 2

    reading, _, _ = metered(meter, play)
    assert codes(reading) == ["energy_gap"]
    assert reading.flags[0].value == pytest.approx(2, abs=0.1)


# --- None -----------------------------------------------------------------------------------------------


def test_a_mig_instance_is_never_given_the_boards_energy(gpu):
    mig = "MIG-7a1f0f1e"
    gpu.says(uuid=[fake_nvml.UUID, mig], energy=1_000, power=100_000)
    assert "no MIG instance" in reason(f"cuda:{mig}")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({}, "Not Supported"),
        ({"energy": "!4", "power": "!4", "power_instant": "!4"}, "Insufficient Permissions"),
        ({"init": "!9"}, "Driver Not Loaded"),
        ({"uuid": "GPU-0"}, "Not Found"),
    ],
)
def test_a_gpu_that_tells_nothing_is_absent_with_the_drivers_word(gpu, answers, said):
    gpu.says(**answers)
    assert said in reason()
    assert "power_command" in reason()
