"""PyTorch, eager: on CPUs and on NVIDIA GPUs.

Run on: CPU (torch 2.13.0). The CUDA path shares all of it but the device's name and the wait at the end
of `run`, which on an asynchronous device is part of the timed call.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hwfit.worker import models
from hwfit.worker.errors import Unsupported
from hwfit.worker.passes import session_pass
from hwfit.worker.runtimes import Batch, Request, Session

# Kept here, since the mode ends with the object.
INFERENCE = torch.inference_mode()


class TorchSession(Session):
    """A module on a device; session passes may replace `module` and `input_dtype`."""

    def __init__(self, request: Request) -> None:
        if request.threads:
            torch.set_num_threads(request.threads)
        self.device = device_of(request.accelerator, request.index)
        self.is_asynchronous = self.device.type != "cpu"
        self.names = [entry["name"] for entry in request.card["inputs"]]
        self.input_dtype: torch.dtype | None = None
        self.module = models.torch_module(request.source, request.task)
        models.load_torch_weights(self.module, request.weights)
        self.module.eval()
        for step in request.passes:
            session_pass(step).torch(self, **{k: v for k, v in step.items() if k != "pass"})
        self.module.to(self.device)
        # fp32 means fp32: on NVIDIA, cuDNN's convolutions would round their inputs to TF32.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def place(self, batch: Batch) -> list[torch.Tensor]:
        tensors = [torch.from_numpy(np.ascontiguousarray(batch[name])) for name in self.names]
        if self.input_dtype:
            tensors = [t.to(self.input_dtype) if t.is_floating_point() else t for t in tensors]
        return [t.to(self.device) for t in tensors]

    def run(self, placed: list[torch.Tensor]) -> torch.Tensor:
        output = self.module(*placed)
        if self.is_asynchronous:
            torch.cuda.synchronize(self.device)
        return output

    def fetch(self, output: torch.Tensor) -> np.ndarray:
        return output.float().cpu().numpy()

    def start(self, placed: list[torch.Tensor]) -> Any:
        output = self.module(*placed)
        if not self.is_asynchronous:
            return output
        # The copy goes behind this call, not behind those started later; into pinned memory, since only
        # that is copied to while the host goes on.
        host = torch.empty(output.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(output, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        return host, done

    def finish(self, started: Any) -> np.ndarray:
        if not self.is_asynchronous:
            return self.fetch(started)
        host, done = started
        done.synchronize()
        return host.numpy()

    def accelerator_of(self, output: torch.Tensor) -> str:
        return output.device.type

    def model_size_bytes(self) -> int:
        # Serialized: a quantized layer keeps its weights packed, out of reach of parameters().
        content = io.BytesIO()
        torch.save(self.module.state_dict(), content)
        return content.tell()

    def threads(self) -> dict[str, int]:
        return {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()}

    def reset_peak_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None


def open_session(request: Request) -> TorchSession:
    """Load the checkpoint, apply the passes, move to the device."""
    session = session_class(request.task)(request)
    if not torch.is_inference_mode_enabled():
        # Once for the whole process: to enter it at each call would cost a small model some percent.
        INFERENCE.__enter__()
    return session


def session_class(task: str) -> type[TorchSession]:
    """The class of a task's sessions."""
    if task == "generation":
        from hwfit.worker.generation.torch import TorchGeneration

        return TorchGeneration
    return TorchSession


def describe(accelerator: str, index: int) -> dict[str, Any]:
    """Versions, and the device as torch names it. Raises Unsupported where this torch cannot use it."""
    device = device_of(accelerator, index)
    described = {"runtime_version": torch.__version__, "device_name": None}
    if device.type == "cuda":
        described |= {"device_name": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return described


def device_of(accelerator: str, index: int) -> torch.device:
    """The torch device. The worker sees the probed GPU alone, so its number there is 0."""
    if accelerator == "cuda":
        if not torch.cuda.is_available():
            raise Unsupported(f"torch {torch.__version__} finds no CUDA device")
        return torch.device("cuda", 0)
    return torch.device("cpu")


def peak_kernels(
    accelerator: str, index: int, size: int, copy_bytes: int
) -> tuple[Callable[[], None], Callable[[], None]]:
    """An fp32 product of size x size matrices, and a copy of copy_bytes, both run to their end."""
    device = device_of(accelerator, index)
    left, right = (torch.rand(size, size, device=device) for _ in range(2))
    source = torch.ones(copy_bytes // 4, device=device)
    target = torch.empty_like(source)

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def matmul() -> None:
        torch.matmul(left, right)
        finish()

    def copy() -> None:
        target.copy_(source)
        finish()

    return matmul, copy
