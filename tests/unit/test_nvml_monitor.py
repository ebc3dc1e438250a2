"""What is read of an NVIDIA GPU around a measurement, and what it says about it."""

import json
import os
import time

import pynvml
import pytest

import fake_nvml
from hwfit.records import DISTURBANCE_FLAGS, TRUST_BREAKING_FLAGS
from hwfit.worker import nvml_monitor
from hwfit.worker.conditions import Conditions
from hwfit.worker.gpu_processes import foreign_load, foreign_processes
from hwfit.worker.memory import driver_share
from hwfit.worker.nvml_monitor import NvmlMonitor

OWN = os.getpid()
IDLE = {
    "sm_clock": 1980,
    "max_clock": 1980,
    "memory_clock": 2619,
    "temperature": 41,
    "power_limit": 700_000,
    "power_limit_default": 700_000,
    "reasons": 0,
    "utilization": 97,
    "thermal_violation": 10_000,
    "power_violation": 20_000,
    "processes": [OWN],
    "process_utilization": [f"{OWN}:96"],
}


@pytest.fixture
def gpu(gpu):
    gpu.says(**IDLE)
    return gpu


def watch(gpu, seconds=0.0, **meanwhile):
    """A monitor around a time in which the GPU's answers changed."""
    with NvmlMonitor(fake_nvml.UUID) as monitor:
        time.sleep(seconds)
        gpu.says(**meanwhile)
    json.dumps(monitor.figures(), allow_nan=False)
    return monitor, {flag.code: flag for flag in monitor.flags()}


def test_a_gpu_of_ones_own_raises_no_flag_and_every_reading_is_kept(gpu):
    monitor, flags = watch(gpu, temperature=63)
    assert flags == {}
    figures = monitor.figures()
    assert figures["gpu_before"] == {
        "sm_clock_mhz": 1980,
        "sm_clock_max_mhz": 1980,
        "memory_clock_mhz": 2619,
        "celsius": 41,
        "power_limit_w": 700,
        "power_limit_default_w": 700,
        "processes": [OWN],
        "utilization": 0.97,
        "clock_reasons": [],
        "thermal_violation_ns": 10_000,
        "power_violation_ns": 20_000,
    }
    assert figures["gpu_after"]["celsius"] == 63
    assert figures["gpu_foreign_processes"] == 0
    assert figures["gpu_foreign_load"] == 0
    assert figures["gpu_unread"] == {}


def test_a_neighbour_at_work_breaks_trust(gpu):
    samples = [f"{OWN}:70", "4711:20", f"{OWN}:60", "4711:30"]
    _, flags = watch(gpu, processes=[OWN, 4711], process_utilization=samples)
    assert set(flags) == {"foreign_load"}
    assert flags["foreign_load"].value == pytest.approx(0.25)
    assert "25%" in flags["foreign_load"].message


def test_a_neighbour_that_only_holds_memory_is_named_and_no_more(gpu):
    _, flags = watch(gpu, processes=[OWN, 4711, 4712], process_utilization=[f"{OWN}:90", "4711:2"])
    assert set(flags) == {"foreign_process"}
    assert flags["foreign_process"].value == 2


def test_in_a_container_the_busiest_process_is_taken_for_ones_own(gpu):
    others = OWN + 1_000_000
    _, flags = watch(gpu, processes=[others], process_utilization=[f"{others}:90"])
    assert flags == {}
    _, flags = watch(gpu, processes=[others, 7], process_utilization=[f"{others}:70", "7:25"])
    assert flags["foreign_load"].value == pytest.approx(0.25)


def test_heat_breaks_trust_by_its_share_of_the_time(gpu):
    monitor, flags = watch(gpu, seconds=0.05, thermal_violation=10_000 + 25_000_000)
    assert set(flags) == {"throttled"}
    assert 0.05 < monitor.throttled <= 0.5
    assert watch(gpu, seconds=0.05, thermal_violation=10_000 + 25_000_000)[1] == {}, (
        "a counter that stands still"
    )


@pytest.mark.parametrize("reason", [0x8, 0x20, 0x40, 0x80])
def test_a_clock_that_is_held_down_at_the_end_breaks_trust(gpu, reason):
    _, flags = watch(gpu, reasons=reason, sm_clock=1200)
    assert set(flags) == {"throttled"}
    assert flags["throttled"].value == 1200


@pytest.mark.parametrize(
    ("meanwhile", "said"),
    [
        ({"power_limit": 350_000}, "350 W, by default it is 700 W"),
        ({"reasons": 0x4}, "at the end"),
        ({"power_violation": 20_000 + 10**12}, "100% of the time"),
    ],
)
def test_a_power_limit_informs(gpu, meanwhile, said):
    _, flags = watch(gpu, **meanwhile)
    assert set(flags) == {"power_capped"}
    assert said in flags["power_capped"].message


def test_only_what_spoils_a_measurement_breaks_trust_and_is_ground_for_another():
    for codes in (TRUST_BREAKING_FLAGS, DISTURBANCE_FLAGS):
        assert {"foreign_load", "throttled"} <= set(codes)
        assert not {"foreign_process", "power_capped"} & set(codes)


def test_a_counter_that_was_reset_says_nothing(gpu):
    monitor, flags = watch(gpu, thermal_violation=0)
    assert monitor.throttled is None
    assert flags == {}


def test_what_the_driver_does_not_tell_is_absent_with_its_word(gpu):
    gpu.says(**dict.fromkeys(IDLE) | {"temperature": 41, "power_limit": "!4"})
    monitor, flags = watch(gpu)
    figures = monitor.figures()
    assert flags == {}
    assert figures["gpu_before"] == figures["gpu_after"] == {"celsius": 41}
    assert figures["gpu_unread"]["sm_clock_mhz"] == "Not Supported"
    assert figures["gpu_unread"]["power_limit_w"] == "Insufficient Permissions"
    assert figures["gpu_foreign_load"] is None
    assert figures["gpu_foreign_processes"] is None


def test_a_gpu_lost_in_the_middle_is_no_error_of_the_monitor(gpu):
    monitor, flags = watch(gpu, **dict.fromkeys(IDLE, "!15"))
    assert flags == {}
    assert monitor.figures()["gpu_after"] == {}
    assert monitor.figures()["gpu_unread"]["celsius"] == "GPU is lost"


@pytest.mark.parametrize(
    ("answers", "said"), [({"init": "!9"}, "Driver Not Loaded"), ({"uuid": "GPU-0"}, "Not Found")]
)
def test_without_nvml_there_is_a_reason(gpu, answers, said):
    gpu.says(**answers)
    monitor, flags = watch(gpu)
    assert flags == {}
    assert monitor.figures()["gpu_unread"] == {"nvml": said}


def test_conditions_of_a_gpu_hold_the_hosts_and_the_gpus(gpu):
    with Conditions(lambda: lambda: None, window_s=0, identity=f"cuda:{fake_nvml.UUID}") as conditions:
        gpu.says(processes=[OWN, 7], process_utilization=[f"{OWN}:50", "7:50"])
    assert "foreign_load" in {flag.code for flag in conditions.flags()}
    figures = conditions.figures()
    assert figures["gpu_after"]["sm_clock_mhz"] == 1980
    assert "steal" in figures
    with Conditions(lambda: lambda: None, window_s=0, identity="cpu:here") as conditions:
        pass
    assert not [name for name in conditions.figures() if name.startswith("gpu")]


def test_the_library_is_nvidias_own_binding_over_the_fake(gpu):
    NvmlMonitor(fake_nvml.UUID).read()
    assert pynvml.nvmlDeviceGetTemperature(nvml_monitor.device(fake_nvml.UUID)[1], 0) == 41


def test_whose_processes():
    assert foreign_processes([]) is None
    assert foreign_processes([OWN, OWN]) == 0
    assert foreign_load([], OWN) is None
    assert foreign_load([(OWN, 0.1), (7, 0.8)], OWN) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ([f"{OWN}:3000000", "7:5000000"], 3e6),
        # In a container this process has another number: alone it is known all the same.
        (["7:5000000"], 5e6),
        (["7:5000000", "8:6000000"], None),
        ([f"{OWN}:{2**64 - 1}"], None),
        ([], None),
        ("!3", None),
    ],
)
def test_the_drivers_share_of_a_process_is_told_where_it_can_be_known(gpu, processes, expected):
    gpu.says(processes=processes)
    assert driver_share(f"cuda:{fake_nvml.UUID}", OWN) == expected


def test_a_device_of_another_maker_has_no_share_by_nvml(gpu):
    assert driver_share("cpu:some", OWN) is None
