"""Training in torch, eager: on CPUs, and by device name on the accelerators that torch knows.

Optimizers are torch's own, and of the package pytorch-optimizer those that torch lacks. bf16 is autocast: the
weights and the optimizer's state stay fp32. Activation checkpointing is torch.utils.checkpoint, a block at a
time.

Run on: CPU (torch 2.13.0, pytorch-optimizer 4.1.0).
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from hwfit.worker import models, zoo
from hwfit.worker.errors import Unsupported
from hwfit.worker.runtimes.torch import COUNTS_MEMORY, backend, describe, device_of
from hwfit.worker.training import initial
from hwfit.worker.training.trainer import EVALUATION_BATCH, LEAST_AXES_THAT_DECAY, Setup, Trainer


class TorchTrainer(Trainer):
    """A module with its optimizer, and the data on its device."""

    def __init__(self, setup: Setup) -> None:
        if setup.threads:
            torch.set_num_threads(setup.threads)
        self.setup = setup
        self.device = device_of(setup.accelerator, setup.index)
        torch.manual_seed(setup.run.seed)
        self.module = initial_module(setup).to(self.device)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.details: dict[str, Any] = {}
        sets = {"train": setup.data.train, "validation": setup.data.validation, "test": setup.data.test}
        self.data = {name: self.placed(pair) for name, pair in sets.items() if pair}
        if self.data["train"][0].ndim == 4:
            # Half the time of convolutions and poolings on a CPU.
            self.module.to(memory_format=torch.channels_last)
        if setup.run.activation_checkpointing:
            self.details["activation_checkpointing"] = checkpoint_blocks(self.module)
        if setup.run.precision == "bf16":
            self.details["precision"] = "torch.autocast to bfloat16; weights and optimizer float32"
        # What is called in training; the module itself is evaluated.
        self.network: nn.Module = self.module
        self.optimizer = optimizer_of(setup.run.optimizer, self.parameters, setup)
        self.module.train()
        # fp32 means fp32: on NVIDIA, cuDNN's convolutions would round their inputs to TF32.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def placed(self, pair: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and labels on the device; tokens as embeddings and losses take them."""
        inputs, labels = (torch.from_numpy(array) for array in pair)
        inputs = inputs if inputs.is_floating_point() else inputs.long()
        return inputs.to(self.device), labels.to(self.device)

    def plan(self, rows: np.ndarray, rates: np.ndarray) -> Sequence[Any]:
        placed = torch.from_numpy(rows).to(self.device, torch.int64)
        return list(zip(placed.unbind(), rates.tolist(), strict=True))

    def step(self, planned: Any) -> torch.Tensor:
        rows, rate = planned
        inputs, labels = self.data["train"]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        total = self.gradients(inputs[rows], labels[rows])
        self.optimizer.step()
        return total

    def gradients(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Add up the gradients of a batch, micro-batch by micro-batch; its mean loss."""
        count = self.setup.run.accumulation
        if count == 1:
            loss = self.loss(inputs, labels)
            loss.backward()
            return loss.detach()
        parts = zip(inputs.chunk(count), labels.chunk(count), strict=True)
        total = torch.zeros((), device=self.device)
        for part_inputs, part_labels in parts:
            loss = self.loss(part_inputs, part_labels) / count
            loss.backward()
            total += loss.detach()
        return total

    def loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean cross-entropy, of all positions where there are several; in fp32."""
        with self.precision():
            scores = self.network(inputs)
        return cross_entropy(scores.float().flatten(0, -2), labels.flatten())

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """In what format the network computes."""
        if self.setup.run.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def losses(self, pending: Sequence[torch.Tensor]) -> np.ndarray:
        return torch.stack(list(pending)).double().cpu().numpy()

    @torch.no_grad()
    def evaluate(self, name: str) -> tuple[float, float]:
        self.evaluating(True)
        inputs, labels = self.data[name]
        loss, right = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for x, y in zip(inputs.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            with self.precision():
                scores = self.module(x).float()
            loss += cross_entropy(scores.flatten(0, -2), y.flatten(), reduction="sum")
            right += (scores.argmax(-1) == y).sum()
        self.evaluating(False)
        return float(loss) / labels.numel(), float(right) / labels.numel()

    def evaluating(self, is_so: bool) -> None:
        """Set the mode of the network, and of an optimizer that has two (Defazio et al., 2024)."""
        self.module.train(not is_so)
        mode = getattr(self.optimizer, "eval" if is_so else "train", None)
        if mode:
            mode()

    @torch.no_grad()
    def outputs(self) -> int:
        self.module.eval()
        scores = self.module(self.data["train"][0][:1])
        self.module.train()
        if not isinstance(scores, torch.Tensor) or scores.ndim != self.data["train"][1].ndim + 1:
            raise Unsupported("the model does not give one score a class: it is no classifier")
        return scores.shape[-1]

    def state(self) -> dict[str, np.ndarray]:
        kept = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self.device.type in COUNTS_MEMORY:
            kept["device_random"] = backend(self.device).get_rng_state()
        content = io.BytesIO()
        torch.save(kept, content)
        return {"torch": np.frombuffer(content.getvalue(), np.uint8)}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        kept = torch.load(io.BytesIO(state["torch"].tobytes()), map_location="cpu", weights_only=True)
        self.module.load_state_dict(kept["module"])
        self.optimizer.load_state_dict(kept["optimizer"])
        torch.set_rng_state(kept["random"])
        if "device_random" in kept:
            backend(self.device).set_rng_state(kept["device_random"])

    def weights(self) -> dict[str, np.ndarray]:
        self.evaluating(True)
        found = {name: p.detach().cpu().numpy().copy() for name, p in self.module.named_parameters()}
        self.evaluating(False)
        return found

    def describe(self) -> dict[str, Any]:
        threads = {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()}
        return describe(self.setup.accelerator, self.setup.index) | {"threads": threads}

    def reset_peak_memory(self) -> None:
        if self.device.type in COUNTS_MEMORY:
            backend(self.device).reset_peak_memory_stats()

    def peak_memory_bytes(self) -> int | None:
        return backend(self.device).max_memory_allocated() if self.device.type in COUNTS_MEMORY else None


def open_trainer(setup: Setup) -> Trainer:
    """The trainer, of one process or of several that share a batch."""
    if setup.processes > 1:
        from hwfit.worker.training.torch_parallel import LeadingTrainer

        return LeadingTrainer(setup)
    return TorchTrainer(setup)


def initial_module(setup: Setup) -> nn.Module:
    """The module: a zoo model's weights are drawn from the seed, published ones are fine-tuned."""
    definition: Any = zoo.model(setup.source["zoo"]) if "zoo" in setup.source else None
    module = models.torch_module(setup.source, setup.task)
    if hasattr(definition, "LAYERS"):
        models.load_arrays_into(module, initial.of_layers(definition.LAYERS, setup.run.seed))
    elif hasattr(definition, "training_tokens"):
        models.load_arrays_into(module, initial.of_llama(definition.ARCHITECTURE, setup.run.seed))
    return module


def optimizer_of(name: str, parameters: Sequence[nn.Parameter], setup: Setup) -> torch.optim.Optimizer:
    """The optimizer, with what decays and what does not in groups of their own."""
    given, rate = setup.hyperparameters, setup.run.learning_rate
    decay = given["weight_decay"]
    decays = [p for p in parameters if not decay or p.ndim >= LEAST_AXES_THAT_DECAY]
    others = [p for p in parameters if decay and p.ndim < LEAST_AXES_THAT_DECAY]
    groups = [{"params": decays, "weight_decay": decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    betas = (given.get("beta1", 0.0), given.get("beta2", 0.0))
    epsilon = given.get("epsilon", 0.0)
    match name:
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, fused=True)
        case "momentum":
            return torch.optim.SGD(groups, lr=rate, momentum=given["momentum"], fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, alpha=given["rho"], eps=epsilon)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, betas=betas, eps=epsilon, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, fused=True)
    try:
        import pytorch_optimizer
    except ImportError as error:
        raise Unsupported(f"{name} is of the package pytorch-optimizer: {error}") from error
    match name:
        case "lion":
            return pytorch_optimizer.Lion(groups, lr=rate, betas=betas, weight_decouple=True)
        case "lamb":
            return pytorch_optimizer.Lamb(groups, lr=rate, betas=betas, eps=epsilon)
        case "schedule-free":
            return pytorch_optimizer.ScheduleFreeAdamW(groups, lr=rate, betas=betas, eps=epsilon)
    raise Unsupported(f"torch has no optimizer {name}")


def checkpoint_blocks(module: nn.Module) -> str:
    """Keep the inputs of blocks alone, and compute what is inside of them again; says of which.

    The blocks are those of the container that holds most weights; a plain sequence is cut into about
    sqrt(n) parts (Chen et al., *Training Deep Nets with Sublinear Memory Cost*, 2016).
    """
    containers = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList | nn.Sequential) and len(part) > 1
    }
    if not containers:
        raise Unsupported("the network has no sequence of blocks that could be computed again")
    name, container = max(containers.items(), key=lambda item: sum(p.numel() for p in item[1].parameters()))
    if isinstance(container, nn.Sequential):
        parts, segments = list(container), round(math.sqrt(len(container)))
        container.forward = lambda x: checkpoint_sequential(parts, segments, x, use_reentrant=False)  # type: ignore[method-assign]
        return f"{segments} segments of the {len(parts)} layers of {name or 'the network'}"
    for block in container:
        inside = block.forward
        block.forward = lambda *given, inside=inside, **named: checkpoint(  # type: ignore[method-assign]
            inside, *given, use_reentrant=False, **named
        )
    return f"the {len(container)} blocks of {name}"
