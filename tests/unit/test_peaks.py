"""Peaks: how sizes grow, what ends it, and what is told of a format that has none."""

import json
import shutil
import subprocess
import time

import pytest

from hwfit.worker import gpu_cache, host, inventory, peaks
from hwfit.worker.errors import Unsupported


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Clocks need no time to rise here."""
    monkeypatch.setattr(peaks, "LEAST_S", 0.0)


class Device:
    """A runtime module for a device that does so many operations a second in each format, and needs some
    time to start each kernel.
    """

    def __init__(self, rates, start_s=1e-5):
        self.rates, self.start_s = rates, start_s
        self.sizes = []

    def matmul_kernel(self, accelerator, index, number_format, rows, size):
        if number_format not in self.rates:
            raise Unsupported(f"no {number_format} here\nat all")
        self.sizes.append((number_format, size))
        seconds = self.start_s + 2 * rows * size**2 / self.rates[number_format]
        return lambda: time.sleep(seconds)

    def copy_kernel(self, accelerator, index, copy_bytes):
        return lambda: time.sleep(1e-3)


def measured(device, accelerator="cpu"):
    *_, last = peaks.measure(device, accelerator, 0)
    return last


def test_a_device_that_needs_large_products_gets_them():
    device = Device({"float32": 1e12}, start_s=2e-3)
    rates = peaks.growing(
        lambda size: device.matmul_kernel("cpu", 0, "float32", size, size), peaks.SIZES, lambda n: 2 * n**3
    )
    assert max(rates, key=rates.__getitem__) >= 2048
    assert max(rates.values()) > 0.7e12


def test_growing_ends_where_two_sizes_gain_nothing():
    rates = peaks.growing(lambda size: lambda: time.sleep(1e-4 * size**3), range(1, 9), lambda n: n**3 / n)
    assert list(rates) == [1, 2, 3]


def test_growing_ends_where_the_next_size_would_take_too_long():
    rates = peaks.growing(lambda size: lambda: time.sleep(0.1), (1, 2, 4), lambda n: n**3)
    assert list(rates) == [1]


def test_a_size_that_finds_no_memory_ends_the_growth_and_the_first_one_is_an_error():
    def kernel_of(size):
        if size > limit:
            raise MemoryError(f"{size}")
        return lambda: None

    limit = 2
    assert list(peaks.growing(kernel_of, (1, 2, 4), lambda n: n**3)) == [1, 2]
    limit = 0
    with pytest.raises(MemoryError):
        peaks.growing(kernel_of, (1, 2, 4), lambda n: n**3)


def test_an_emulated_format_has_a_reason_and_took_one_small_product():
    device = Device({"float32": 2e10, "float16": 5e8, "bfloat16": 4e10})
    told = measured(device)
    assert told["peaks"]["matmul_bfloat16_gflops"] > told["peaks"]["matmul_float32_gflops"]
    assert "matmul_float16_gflops" not in told["peaks"]
    assert told["peaks_unread"]["matmul_float16_gflops"].startswith("emulated: ")
    assert [size for name, size in device.sizes if name == "float16"] == [256]


def test_a_format_of_which_one_small_product_was_slow_is_not_emulated():
    peaks.require_units({256: 1e9, 512: 9e10}, {256: 5e10, 512: 6e10})
    with pytest.raises(Unsupported, match=r"emulated: 2 GFLOP/s at 512 x 512, 3.3% of"):
        peaks.require_units({256: 1e9, 512: 2e9}, {256: 5e10, 512: 6e10})
    # Nothing to hold it against.
    peaks.require_units({256: 1e9}, {})


def test_a_format_without_a_kernel_has_the_runtimes_reason_in_one_line():
    told = measured(Device({"float32": 1e11}))
    assert told["peaks_unread"]["matmul_int8_gflops"] == "no int8 here"


@pytest.mark.parametrize(("accelerator", "is_there"), [("cpu", False), ("cuda", True)])
def test_tf32_is_asked_of_nvidias_devices_alone(accelerator, is_there):
    told = measured(Device({"float32": 1e11, "tf32": 2e11}), accelerator)
    assert ("matmul_tf32_gflops" in told["peaks"]) is is_there


def test_what_is_moved_does_not_fit_into_the_last_cache():
    mebi = 2**20
    assert peaks.moved_bytes("cpu", 32 * mebi) == (256 * mebi,)
    (large,) = peaks.moved_bytes("cpu", 90 * mebi)
    assert large == 360 * mebi
    assert max(peaks.moved_bytes("cuda", 50 * mebi)) == 1024 * mebi


def test_each_answer_names_what_was_being_measured_when_it_was_the_last():
    answers = [json.loads(json.dumps(told)) for told in peaks.measure(Device({"float32": 1e11}), "cpu", 0)]
    assert list(answers[0]["peaks_unread"]) == ["matmul_float32_gflops"]
    assert "matmul_float32_gflops" in answers[1]["peaks"]
    output = "noise\n" + "\n".join(map(json.dumps, answers[:2])) + "\nfatal error\n"
    assert inventory.last_told(output) == answers[1]
    assert inventory.last_told("Illegal instruction\n") is None


def test_shared_caches_count_once_and_only_the_last_level(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    for core, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")):
        for number, kind, level, size, cores in (
            (1, "Instruction", 1, "32K", str(core)),
            (2, "Unified", 2, "1024K", str(core)),
            (3, "Unified", 3, "16384K", shared),
        ):
            cache = tmp_path / f"cpu{core}/cache/index{number}"
            cache.mkdir(parents=True)
            told = {"type": kind, "level": level, "size": size, "shared_cpu_list": cores}
            for name, value in told.items():
                (cache / name).write_text(f"{value}\n")
    assert host.last_cache_bytes(tmp_path) == 2 * 16 * 2**20
    assert host.last_cache_bytes(tmp_path / "nothing") is None


DRIVER = """
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = device == 7 && attribute == 38 ? 52428800 : 0;
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_a_gpus_cache_is_read_from_the_drivers_library(tmp_path, monkeypatch):
    library = tmp_path / "libcuda.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"], input=DRIVER, text=True, check=True
    )
    monkeypatch.setattr(gpu_cache, "LIBRARY", str(library))
    assert gpu_cache.cuda_cache_bytes() == 50 * 2**20
    monkeypatch.setattr(gpu_cache, "LIBRARY", str(tmp_path / "libnone.so"))
    assert gpu_cache.cuda_cache_bytes() is None
