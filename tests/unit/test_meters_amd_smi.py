"""The energy of an AMD GPU, by a module in place of AMD's library."""

import sys
import types

import pytest

from hwfit.worker.meters import amd_smi, find
from virtual_clock import metered

UUID = "c4ff7550-0000-1000-801f-5f2b6b1fd4e1"


class FakeAmdSmi(types.ModuleType):
    """A library with one GPU, whose counter and power are what a test sets; None for "not supported"."""

    class AmdSmiException(Exception):
        pass

    def __init__(self):
        super().__init__("amdsmi")
        self.counted = None
        self.power = {"current_socket_power": 300, "average_socket_power": 290}

    def amdsmi_init(self):
        pass

    def amdsmi_get_processor_handles(self):
        return ["handle"]

    def amdsmi_get_gpu_device_uuid(self, handle):
        return UUID

    def amdsmi_get_energy_count(self, handle):
        if self.counted is None:
            raise self.AmdSmiException("AMDSMI_STATUS_NOT_SUPPORTED")
        return {"energy_accumulator": self.counted(), "counter_resolution": 15.3, "timestamp": 0}

    def amdsmi_get_power_info(self, handle):
        if self.power is None:
            raise self.AmdSmiException("AMDSMI_STATUS_NOT_SUPPORTED")
        return self.power


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setattr(amd_smi, "TRIAL_S", 0.05)
    fake = FakeAmdSmi()
    monkeypatch.setitem(sys.modules, "amdsmi", fake)
    return fake


def found(uuid=UUID):
    (meter,), absences = find(f"cuda:{uuid}")
    assert absences == []
    return meter


def counts_of(watts):
    """A counter in units of 15.3 microjoules that grows by so many watts."""
    return lambda: round(watts * amd_smi.time.perf_counter() / 15.3e-6)


def test_a_counter_that_agrees_with_the_power_is_read_at_both_ends(library):
    library.counted = counts_of(300)
    meter = found()
    library.counted = iter([1_000_000, 101_000_000]).__next__
    times = iter([0.0, 10.0])
    meter.now_s = lambda: next(times)
    with meter:
        pass
    reading = meter.reading()
    assert (reading.source, reading.scope) == ("counter:amd-smi", "board")
    assert reading.energy_j == pytest.approx(100_000_000 * 15.3e-6)


@pytest.mark.parametrize(
    "counter", [counts_of(3), counts_of(30_000), lambda: 5, None], ids=["small", "large", "still", "none"]
)
def test_a_counter_that_cannot_be_believed_gives_way_to_the_power(library, counter):
    library.counted = counter
    meter = found()
    reading, start, end = metered(
        meter, lambda at: library.power.update(current_socket_power=round(200 + 10 * at))
    )
    assert (reading.source, reading.scope) == ("sampled:amd-smi", "board")
    assert reading.energy_j == pytest.approx(200 * (end - start) + 5 * (end**2 - start**2), rel=0.01)


def test_older_gpus_tell_their_mean_power(library):
    library.power = {"current_socket_power": "N/A", "average_socket_power": 250}
    reading, _, _ = metered(found(), lambda at: None)
    assert reading.energy_j == pytest.approx(250 * reading.seconds)


def test_a_gpu_lost_in_the_middle_leaves_no_energy(library):
    def play(at):
        library.power = library.power if at < 3 else None

    reading, _, _ = metered(found(), play)
    assert (reading.energy_j, [flag.code for flag in reading.flags]) == (None, ["energy_lost"])


def test_what_is_missing_is_said(library, monkeypatch):
    assert "knows no GPU" in find("cuda:0000")[1][0].reason
    library.power = None
    assert "NOT_SUPPORTED" in find(f"cuda:{UUID}")[1][0].reason
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    (absence,) = find(f"cuda:{UUID}")[1]
    assert absence.source == "amd-smi"
    assert "cannot be imported" in absence.reason
