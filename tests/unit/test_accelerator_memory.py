"""On an accelerator the memory of a row is the model's, and not that of hwfit's own kernels."""

import gc
import io
import weakref

from hwfit.records import read_profile
from hwfit.worker import conditions, profile, runtimes
from hwfit.worker.conditions import Conditions
from jobs import LinearRuntime, LinearSession, make_job

MODEL_BYTES, KERNEL_BYTES = 7_000_000, 50_000_000


class Operands:
    """What a kernel holds of a device's memory."""


def test_the_reference_kernel_holds_nothing_between_its_two_windows():
    held: list[weakref.ref] = []

    def make_reference():
        operands = Operands()
        held.append(weakref.ref(operands))
        return lambda: operands

    with Conditions(make_reference, window_s=0):
        gc.collect()
        assert [ref() for ref in held] == [None]
    assert len(held) == 2


class Device:
    """Counts what is held of it, and the most since it was asked to forget."""

    def __init__(self):
        self.held = self.peak = MODEL_BYTES

    def take(self, size):
        self.held += size
        self.peak = max(self.peak, self.held)


def test_the_peak_of_a_row_is_the_models_alone(tmp_path, monkeypatch):
    device = Device()

    class Session(LinearSession):
        def accelerator_of(self, output):
            return "npu"

        def reset_peak_memory(self):
            device.peak = device.held

        def peak_memory_bytes(self):
            return device.peak

    class Runtime(LinearRuntime):
        def matmul_kernel(self, *arguments):
            kernel = super().matmul_kernel(*arguments)
            device.take(KERNEL_BYTES)
            weakref.finalize(kernel, device.take, -KERNEL_BYTES)
            return kernel

    monkeypatch.setattr(runtimes, "load", lambda name: Runtime(Session))
    monkeypatch.setattr(profile, "WARM_UP_SECONDS", 0.2)
    monkeypatch.setattr(conditions.Conditions.__init__, "__defaults__", (0.01,))
    job = make_job(tmp_path, accelerator="npu", batch_sizes=[4])
    profile.profile(job, io.StringIO())
    row = read_profile(job.path(4))
    assert (row.status, row.metrics["peak_memory_mb"]) == ("ok", MODEL_BYTES / 1e6), row.reason
