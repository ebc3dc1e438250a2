"""MindSpore, in graph mode where no pass says otherwise: on CPUs; Ascend NPUs by device name.

Run on: CPU (mindspore 2.8.0; later versions run CPU convolutions on a slow reference kernel). On Ascend
only the device's name differs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

os.environ.setdefault("GLOG_v", "3")

import mindspore as ms
import numpy as np

from hwfit.worker import models
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import act_on
from hwfit.worker.runtimes import Batch, Request, Session

TARGETS = {"cpu": "CPU", "npu": "Ascend"}


class MindSporeSession(Session):
    """A cell in graph mode; session passes may change `cell` and `input_dtype`."""

    def __init__(self, request: Request) -> None:
        use_device(request.accelerator, request.index)
        if request.threads:
            ms.set_context(runtime_num_threads=request.threads)
        self.accelerator = request.accelerator
        self.is_asynchronous = request.accelerator != "cpu"
        self.names = [entry["name"] for entry in request.card["inputs"]]
        self.input_dtype: Any = None
        self.cell = self.build(request)
        act_on(self, "mindspore", request.passes)
        self.cell.set_train(False)
        if request.passes:
            self.require_kernels(request)

    def build(self, request: Request) -> Any:
        """The cell, before any pass."""
        return models.mindspore_cell(request.source, request.weights)

    def try_kernels(self, one: Batch) -> None:
        """Run one sample, for the errors of kernels that are not there."""
        self.run(self.place(one))

    def require_kernels(self, request: Request) -> None:
        """Compile for one sample. Raises Unsupported where the device lacks a kernel for the new types."""
        one = {e["name"]: np.zeros((1, *e["shape"]), e["dtype"]) for e in request.card["inputs"]}
        # A graph whose types do not fit is dumped as well, without this into the directory of the run.
        with tempfile.TemporaryDirectory() as directory:
            os.environ["MS_OM_PATH"] = directory
            try:
                self.try_kernels(one)
            except (TypeError, RuntimeError) as error:
                lines = [line.strip() for line in str(error).splitlines()]
                told = next((line for line in lines if "fail!" in line or "nsupported" in line), lines[0])
                raise Unsupported(f"mindspore {ms.__version__} on {self.accelerator}: {told}") from error
            finally:
                del os.environ["MS_OM_PATH"]

    def place(self, batch: Batch) -> list[Any]:
        tensors = [ms.Tensor(np.ascontiguousarray(batch[name])) for name in self.names]
        if self.input_dtype is not None:
            tensors = [t.astype(self.input_dtype) if t.is_floating_point() else t for t in tensors]
        ms.runtime.synchronize()
        return tensors

    def run(self, placed: list[Any]) -> Any:
        output = self.cell(*placed)
        ms.runtime.synchronize()
        return output

    def start(self, placed: list[Any]) -> Any:
        return self.cell(*placed)

    def fetch(self, output: Any) -> np.ndarray:
        return output.astype(ms.float32).asnumpy()

    def accelerator_of(self, output: Any) -> str:
        target = ms.get_context("device_target")
        return next(name for name, known in TARGETS.items() if known == target)

    def model_size_bytes(self) -> int:
        return sum(parameter.nbytes for parameter in self.cell.get_parameters())

    def parameters(self) -> int:
        return sum(parameter.size for parameter in self.cell.get_parameters())

    def threads(self) -> dict[str, int]:
        return {"runtime": int(ms.get_context("runtime_num_threads"))}

    def reset_peak_memory(self) -> None:
        if self.accelerator != "cpu":
            ms.runtime.reset_peak_memory_stats()

    def peak_memory_bytes(self) -> int | None:
        return None if self.accelerator == "cpu" else ms.runtime.max_memory_allocated()

    def peak_reserved_bytes(self) -> int | None:
        return None if self.accelerator == "cpu" else ms.runtime.max_memory_reserved()


def open_session(request: Request) -> MindSporeSession:
    """Build the cell from the checkpoint on the device."""
    if request.task == "generation":
        from hwfit.worker.generation.mindspore import MindSporeGeneration

        return MindSporeGeneration(request)
    return MindSporeSession(request)


def describe(accelerator: str, index: int) -> dict[str, Any]:
    """Versions. Raises Unsupported where this MindSpore cannot use the device."""
    use_device(accelerator, index)
    return {"runtime_version": ms.__version__, "device_name": TARGETS[accelerator]}


def use_device(accelerator: str, index: int) -> None:
    """Choose the device, and graph mode. The worker sees the probed one alone, so its number is 0."""
    try:
        ms.set_device(TARGETS[accelerator], 0)
    except (RuntimeError, ValueError) as error:
        raise Unsupported(f"mindspore {ms.__version__}: {str(error).splitlines()[0]}") from error
    ms.set_context(mode=ms.GRAPH_MODE)


def matmul_kernel(
    accelerator: str, index: int, number_format: str, rows: int, size: int
) -> Callable[[], Any]:
    """A product of rows x size and size x size matrices, run to its end.

    Raises Unsupported where a product of int8 is int8 too: its sums overflow, so it is no product of a model.
    """
    use_device(accelerator, index)
    random, dtype = np.random.default_rng(0), getattr(ms, number_format)
    left, right = (
        ms.Tensor(random.random(shape, np.float32)).astype(dtype) for shape in ((rows, size), (size, size))
    )

    def matmul() -> Any:
        result = ms.ops.matmul(left, right)
        ms.runtime.synchronize()
        return result

    if number_format == "int8" and (got := matmul().dtype) != ms.int32:
        raise Unsupported(f"a product of int8 is {got} here, whose sums overflow")
    return matmul


def copy_kernel(accelerator: str, index: int, copy_bytes: int) -> Callable[[], None]:
    """A copy on the device, run to its end."""
    use_device(accelerator, index)
    source = ms.Tensor(np.ones(copy_bytes // 4, np.float32))

    def copy() -> None:
        # Tensor.copy goes through the host; a sum with zero reads and writes every value.
        ms.ops.add(source, 0.0)
        ms.runtime.synchronize()

    return copy
