"""PyTorch, eager: on CPUs, NVIDIA, Apple and Intel GPUs, Ascend NPUs (torch_npu) and TPUs (torch_xla).

Run on: CPU (torch 2.13.0), NVIDIA H200 (torch 2.11.0: fp32, one call at a time). All others share all of it
but the device's name, the package that brings it, and the wait at the end of `run`, which on an asynchronous
device is part of the timed call.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hwfit.worker import models
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import act_on
from hwfit.worker.runtimes import Batch, Request, Session

# As torch calls the device of each accelerator, and the package that teaches it to torch, if any.
DEVICES = {
    "cpu": ("cpu", None),
    "cuda": ("cuda", None),
    "mps": ("mps", None),
    "xpu": ("xpu", None),
    "npu": ("npu", "torch_npu"),
    "tpu": ("xla", "torch_xla"),
}
# Devices whose memory torch counts.
COUNTS_MEMORY = ("cuda", "xpu", "npu")
# Kept here, since the mode ends with the object.
INFERENCE = torch.inference_mode()


class TorchSession(Session):
    """A module on a device.

    Session passes may replace `module`, `input_dtype`, `memory_format` and `move`.
    """

    def __init__(self, request: Request) -> None:
        if request.threads:
            torch.set_num_threads(request.threads)
        self.device = device_of(request.accelerator, request.index)
        self.is_asynchronous = self.device.type != "cpu"
        self.card = request.card
        self.names = [entry["name"] for entry in request.card["inputs"]]
        self.input_dtype: torch.dtype | None = None
        self.memory_format = torch.contiguous_format
        self.move: Callable[[Any, torch.device], Any] = lambda module, device: module.to(device)
        self.module = self.loaded(request)
        act_on(self, "torch", request.passes)
        self.move(self.module, self.device)
        # fp32 means fp32: on NVIDIA, cuDNN's convolutions would round their inputs to TF32.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def loaded(self, request: Request) -> Any:
        """The module with its weights, before passes act on it."""
        module = models.torch_network(request.source, request.task)
        models.load_torch_weights(module, request.weights)
        return module.eval()

    def place(self, batch: Batch) -> list[torch.Tensor]:
        tensors = [torch.from_numpy(np.ascontiguousarray(batch[name])) for name in self.names]
        if self.input_dtype:
            tensors = [t.to(self.input_dtype) if t.is_floating_point() else t for t in tensors]
        # From pageable memory a copy waits for all calls before it, which `offline` has in flight.
        is_pinned = self.device.type == "cuda"
        tensors = [t.pin_memory() if is_pinned else t for t in tensors]
        # Formats of four axes are for images alone.
        formats = [self.memory_format if t.ndim == 4 else torch.preserve_format for t in tensors]
        return [
            t.to(self.device, non_blocking=is_pinned, memory_format=form)
            for t, form in zip(tensors, formats, strict=True)
        ]

    def run(self, placed: list[torch.Tensor]) -> torch.Tensor:
        output = self.module(*placed)
        if self.is_asynchronous:
            wait_for(self.device)
        return output

    def fetch(self, output: torch.Tensor) -> np.ndarray:
        return output.float().cpu().numpy()

    def start(self, placed: list[torch.Tensor]) -> Any:
        output = self.module(*placed)
        if self.device.type != "cuda":
            return output
        # The copy goes behind this call, not behind those started later; into pinned memory, since only
        # that is copied to while the host goes on.
        host = torch.empty(output.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(output, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        return host, done

    def finish(self, started: Any) -> np.ndarray:
        if self.device.type != "cuda":
            return self.fetch(started)
        host, done = started
        done.synchronize()
        return host.numpy()

    def accelerator_of(self, output: torch.Tensor) -> str:
        return next(name for name, (device, _) in DEVICES.items() if device == output.device.type)

    def forget_compiled(self) -> None:
        # Of more than eight shapes Dynamo runs the rest uncompiled, and says nothing.
        dynamo = sys.modules.get("torch._dynamo")
        if dynamo and isinstance(self.module, dynamo.OptimizedModule):
            torch.compiler.reset()

    def model_size_bytes(self) -> int:
        # Serialized: a quantized layer keeps its weights packed, out of reach of parameters().
        content = io.BytesIO()
        torch.save(self.module.state_dict(), content)
        return content.tell()

    def threads(self) -> dict[str, int]:
        return {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()}

    def reset_peak_memory(self) -> None:
        if self.device.type in COUNTS_MEMORY:
            # What was freed since it was loaded is not the model's, to the driver neither.
            backend(self.device).empty_cache()
            backend(self.device).reset_peak_memory_stats()

    def peak_memory_bytes(self) -> int | None:
        return backend(self.device).max_memory_allocated() if self.device.type in COUNTS_MEMORY else None

    def peak_reserved_bytes(self) -> int | None:
        return backend(self.device).max_memory_reserved() if self.device.type in COUNTS_MEMORY else None


def open_session(request: Request) -> TorchSession:
    """Load the checkpoint, apply the passes, move to the device."""
    session = session_class(request)(request)
    if not torch.is_inference_mode_enabled():
        # Once for the whole process: to enter it at each call would cost a small model some percent.
        INFERENCE.__enter__()
    return session


def session_class(request: Request) -> type[TorchSession]:
    """The class of a session: by the task, and by what is loaded."""
    if request.weights.suffix == ".pt2":
        from hwfit.worker.runtimes.torch_program import ProgramSession

        return ProgramSession
    if request.task == "generation":
        from hwfit.worker.generation.torch import TorchGeneration

        return TorchGeneration
    return TorchSession


def describe(accelerator: str, index: int) -> dict[str, Any]:
    """Versions, and the device as torch names it. Raises Unsupported where this torch cannot use it."""
    device = device_of(accelerator, index)
    described = {"runtime_version": torch.__version__, "device_name": str(device)}
    if device.type == "cuda":
        described |= {"device_name": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return described


def device_of(accelerator: str, index: int) -> torch.device:
    """The torch device. The worker sees the probed one alone, so its number there is 0.

    Raises Unsupported where this torch does not find it, or lacks the package that brings it.
    """
    name, package = DEVICES[accelerator]
    if accelerator == "cpu":
        return torch.device(name)
    if package:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise Unsupported(f"torch needs {package} for {accelerator}: {error}") from error
    if name == "xla":
        return xla_device()
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None or found.type != name:
        raise Unsupported(f"torch {torch.__version__} finds {found or 'no accelerator'}, not {name}")
    return torch.device(name, 0)


def xla_device() -> torch.device:
    """The TPU, by torch_xla's own count. Raises Unsupported where PJRT finds none."""
    import torch_xla

    try:
        return torch_xla.device()
    except RuntimeError as error:
        raise Unsupported(f"torch_xla finds no device: {str(error).splitlines()[0]}") from error


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that it was given."""
    if device.type == "xla":
        # Lazy: what was called so far is compiled and run now.
        import torch_xla

        torch_xla.sync(wait=True)
    else:
        backend(device).synchronize()


def backend(device: torch.device) -> Any:
    """torch.cuda, torch.xpu, torch.mps or torch_npu's torch.npu: the same functions, in older torch too."""
    return getattr(torch, device.type)


def matmul_kernel(
    accelerator: str, index: int, number_format: str, rows: int, size: int
) -> Callable[[], torch.Tensor]:
    """A product of rows x size and size x size matrices, run to its end; int8 is added up in int32."""
    device = device_of(accelerator, index)
    if number_format == "int8":
        left, right = (
            torch.randint(-128, 128, shape, dtype=torch.int8, device=device)
            for shape in ((rows, size), (size, size))
        )
        # The layout of cuBLASLt's int8 kernels.
        right, product = right.t(), torch._int_mm
    else:
        dtype = torch.float32 if number_format == "tf32" else getattr(torch, number_format)
        left, right = (torch.rand(shape, device=device).to(dtype) for shape in ((rows, size), (size, size)))
        product = torch.matmul

    def matmul() -> torch.Tensor:
        torch.backends.cuda.matmul.allow_tf32 = number_format == "tf32"
        result = product(left, right)
        finish(device)
        return result

    return matmul


def copy_kernel(accelerator: str, index: int, copy_bytes: int) -> Callable[[], None]:
    """A copy on the device, run to its end."""
    device = device_of(accelerator, index)
    source = torch.ones(copy_bytes // 4, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        finish(device)

    return copy


def finish(device: torch.device) -> None:
    """Wait for the device where it does not wait by itself."""
    if device.type != "cpu":
        wait_for(device)
