"""Training in MindSpore: a step is one graph (`jit`), and optimizers are MindSpore's own.

It writes some of them in another form than torch, and the same steps come of it so:

- Its Adam adds epsilon before the bias of the second moment is corrected ("epsilon hat", Kingma and Ba, 2015,
  section 2); torch after. With epsilon * sqrt(1 - beta2^t) at step t the two are one.
- Its RMSProp begins with a mean square of 1, torch with 0: it is set to 0. It adds epsilon to the mean
  square, torch to the root: it gets epsilon squared, as long as that is too small to show.
- `nn.AdamWeightDecay` corrects no bias. Its AdamW (`mindspore.experimental`) has torch's form, computed
  operator by operator.

On a CPU each call runs in the thread that makes it (`MS_DEV_HOST_BLOCKING_RUN`): else that thread spins
while others compute, and on two cores a step of LeNet-5 takes 1.2 to 5 times as long, with `nn.SGD` 13 times.

Its bfloat16 has no matrix product on a CPU, and is not tried. Activation checkpointing is `Cell.recompute`.

Run on: CPU (mindspore 2.8.0).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn, ops
from mindspore.experimental import optim

from hwfit.worker import models, zoo
from hwfit.worker.errors import Unsupported
from hwfit.worker.runtimes.mindspore import describe, use_device
from hwfit.worker.training import initial
from hwfit.worker.training.trainer import EVALUATION_BATCH, LEAST_AXES_THAT_DECAY, Setup, Trainer
from hwfit.worker.zoo import mindspore_layers

BLOCKING = "MS_DEV_HOST_BLOCKING_RUN"


class MindSporeTrainer(Trainer):
    """A cell with its optimizer, and the data on a device."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        run = setup.run
        if setup.processes > 1:
            raise Unsupported("training by several processes is there in torch alone")
        if run.precision != "fp32":
            raise Unsupported("MindSpore has no convolution or matrix product in bfloat16 on a CPU")
        self.details: dict[str, Any] = {}
        if setup.accelerator == "cpu":
            # Looked at when the first operator runs.
            self.details[BLOCKING] = os.environ.setdefault(BLOCKING, "1")
        use_device(setup.accelerator, setup.index)
        if setup.threads:
            ms.set_context(runtime_num_threads=setup.threads)
        ms.set_seed(run.seed)
        self.cell = cell_of(setup)
        if run.activation_checkpointing:
            self.details["activation_checkpointing"] = recompute_blocks(self.cell)
        self.cell.set_train(True)
        self.optimizer = optimizer_of(setup, list(self.cell.trainable_params()))
        self.trained = self.optimizer.parameters
        sets = {"train": setup.data.train, "validation": setup.data.validation, "test": setup.data.test}
        self.data = {name: placed(name, pair) for name, pair in sets.items() if pair}
        self.graph = step_of(self)
        self.evaluations = {name: judge_of(self.cell, *pair) for name, pair in self.data.items()}

    def plan(self, rows: np.ndarray, rates: np.ndarray) -> Sequence[Any]:
        parts = rows.reshape(len(rows), self.setup.run.accumulation, -1)
        placed = [tuple(map(ms.Tensor, drawn)) for drawn in parts]
        if self.setup.has_changing_rate:
            return [(ms.Tensor(rate, ms.float32), *part) for rate, part in zip(rates, placed, strict=True)]
        return placed

    def step(self, planned: Any) -> Any:
        return self.graph(*planned)

    def losses(self, pending: Sequence[Any]) -> np.ndarray:
        return np.array([loss.asnumpy() for loss in pending], np.float64)

    def evaluate(self, name: str) -> tuple[float, float]:
        count = len(self.data[name][0])
        self.cell.set_train(False)
        losses, right = [], []
        for start in range(0, count, EVALUATION_BATCH):
            # Always as many, since each number has a graph of its own; those that are too many are left out.
            rows = np.arange(start, start + EVALUATION_BATCH, dtype=np.int32)
            judged = self.evaluations[name](ms.Tensor(np.minimum(rows, count - 1)))
            kept = slice(0, count - start)
            losses.append(judged[0].asnumpy()[kept].astype(np.float64))
            right.append(judged[1].asnumpy()[kept])
        self.cell.set_train(True)
        return float(np.concatenate(losses).mean()), float(np.concatenate(right).mean())

    def outputs(self) -> int:
        inputs, labels = self.data["train"]
        scores = self.cell(ops.gather(inputs, ms.Tensor([0], ms.int32), 0))
        if not isinstance(scores, ms.Tensor) or scores.ndim != labels.ndim + 1:
            raise Unsupported("the model does not give one score a class: it is no classifier")
        return scores.shape[-1]

    def state(self) -> dict[str, np.ndarray]:
        found = {str(number): kept.asnumpy() for number, kept in enumerate(self.kept())}
        return found | {"random": ms.get_rng_state().asnumpy()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        for number, kept in enumerate(self.kept()):
            kept.set_data(ms.Tensor(state[str(number)], kept.dtype))
        ms.set_rng_state(ms.Tensor(state["random"]))

    def kept(self) -> list[Any]:
        """All parameters that the next step depends on, each once."""
        of_both = [*self.cell.get_parameters(), *self.optimizer.get_parameters()]
        return list({id(each): each for each in of_both}.values())

    def weights(self) -> dict[str, np.ndarray]:
        return {parameter.name: parameter.asnumpy().copy() for parameter in self.trained}

    def reset_peak_memory(self) -> None:
        if self.setup.accelerator != "cpu":
            ms.runtime.reset_peak_memory_stats()

    def peak_memory_bytes(self) -> int | None:
        return None if self.setup.accelerator == "cpu" else ms.runtime.max_memory_allocated()

    def describe(self) -> dict[str, Any]:
        return describe(self.setup.accelerator, self.setup.index) | {
            "threads": {"runtime": int(ms.get_context("runtime_num_threads"))}
        }


def open_trainer(setup: Setup) -> Trainer:
    return MindSporeTrainer(setup)


def cell_of(setup: Setup) -> Any:
    """The source's cell, the zoo's with the weights of the seed."""
    definition: Any = zoo.model(setup.source["zoo"]) if "zoo" in setup.source else None
    if hasattr(definition, "LAYERS"):
        weights = initial.of_layers(definition.LAYERS, setup.run.seed)
        return mindspore_layers.build(definition.LAYERS, weights)
    if hasattr(definition, "training_tokens"):
        from hwfit.worker.zoo.llama.mindspore import Llama

        weights = initial.of_llama(definition.ARCHITECTURE, setup.run.seed)
        cell = Llama(definition.ARCHITECTURE, weights)
        for parameter in cell.get_parameters():
            parameter.requires_grad = True
        return cell
    if definition is not None:
        raise Unsupported(f"{setup.source['zoo']} comes in torch alone")
    return models.called(setup.source, nn.Cell, "a mindspore.nn.Cell")


def recompute_blocks(cell: Any) -> str:
    """Have blocks computed again for their gradients (`Cell.recompute`); says of which."""
    blocks = list(getattr(cell, "layers", None) or (cell if isinstance(cell, nn.SequentialCell) else ()))
    if not blocks:
        raise Unsupported("the network has no sequence of blocks that could be computed again")
    for block in blocks:
        block.recompute()
    return f"Cell.recompute of {len(blocks)} blocks"


def placed(name: str, pair: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
    """Inputs and labels as parameters: a graph would take tensors for constants, and copy them."""
    inputs, labels = (
        ms.Parameter(ms.Tensor(np.ascontiguousarray(array)), name=f"{name}.{part}", requires_grad=False)
        for part, array in zip(("inputs", "labels"), (pair[0], pair[1].astype(np.int32)), strict=True)
    )
    return inputs, labels


def step_of(trainer: MindSporeTrainer) -> Any:
    """The graph of a step: a learning rate, where that changes, and the rows of each micro-batch to the loss.

    Rows come apart: a slice within the graph has no fixed shape, and convolutions are then many times slower.
    """
    cell, optimizer, setup = trainer.cell, trainer.optimizer, trainer.setup
    inputs, labels = trainer.data["train"]
    given, count = setup.hyperparameters, setup.run.accumulation
    is_decoupled = setup.run.optimizer == "adamw"
    decay = 0.0 if is_decoupled else given["weight_decay"]
    decays = [parameter.ndim >= LEAST_AXES_THAT_DECAY for parameter in trainer.trained]
    rates = list(getattr(optimizer, "lrs", None) or [optimizer.learning_rate])
    is_adam = setup.run.optimizer == "adam"
    epsilon, beta2 = given.get("epsilon", 0.0), given.get("beta2", 0.0)

    def loss_of(rows: Any) -> Any:
        scores = cell(ops.gather(inputs, rows, 0)).astype(ms.float32)
        scores = scores.reshape(-1, scores.shape[-1])
        return ops.cross_entropy(scores, ops.gather(labels, rows, 0).reshape(-1)) / count

    gradients_of = ms.value_and_grad(loss_of, None, trainer.trained)
    weights = trainer.trained

    def step(rate: Any, *parts: Any) -> Any:
        for kept in rates:
            ops.assign(kept, rate)
        if is_adam:
            ops.assign(optimizer.eps, epsilon * ops.sqrt(1 - optimizer.beta2_power * beta2))
        total, gradients = gradients_of(parts[0])
        for part in parts[1:]:
            more, found = gradients_of(part)
            total = total + more
            gradients = summed(gradients, found)
        if decay:
            gradients = decayed(gradients, weights, decays, decay)
        optimizer(gradients)
        return total

    constant = ms.Tensor(setup.run.learning_rate, ms.float32)

    def step_at_one_rate(*parts: Any) -> Any:
        return step(constant, *parts)

    # Each argument takes time at each call.
    return ms.jit(step if setup.has_changing_rate else step_at_one_rate)


def summed(left: Any, right: Any) -> Any:
    """The sums of gradients, one by one."""
    found: tuple[Any, ...] = ()
    for number in range(len(left)):
        found = (*found, left[number] + right[number])
    return found


def decayed(gradients: Any, weights: Any, decays: Sequence[bool], decay: float) -> Any:
    """Gradients, to which those of weights that decay have their share added."""
    found: tuple[Any, ...] = ()
    for number in range(len(decays)):
        gradient = gradients[number]
        if decays[number]:
            gradient = gradient + decay * weights[number]
        found = (*found, gradient)
    return found


def judge_of(cell: Any, inputs: Any, labels: Any) -> Any:
    """The graph of an evaluation: rows to the loss of each, and the share of its labels that score best."""

    @ms.jit
    def judge(rows: Any) -> Any:
        scores, wanted = cell(ops.gather(inputs, rows, 0)).astype(ms.float32), ops.gather(labels, rows, 0)
        count = rows.shape[0]
        right = (scores.argmax(-1).astype(ms.int32) == wanted).astype(ms.float32).reshape(count, -1)
        flat = scores.reshape(-1, scores.shape[-1])
        loss = ops.cross_entropy(flat, wanted.reshape(-1), reduction="none").reshape(count, -1)
        return loss.mean(-1), right.mean(-1)

    return judge


def optimizer_of(setup: Setup, parameters: list[Any]) -> Any:
    """MindSpore's optimizer. Raises Unsupported where it has none of the name in the form that is meant."""
    given, rate = setup.hyperparameters, float(setup.run.learning_rate)
    match setup.run.optimizer:
        case "sgd":
            return nn.SGD(parameters, rate)
        case "momentum":
            return nn.Momentum(parameters, rate, given["momentum"])
        case "rmsprop":
            epsilon = setup.epsilon_within_the_root()
            made = nn.RMSProp(parameters, rate, decay=given["rho"], epsilon=epsilon)
            for mean_square in made.ms:
                mean_square.set_data(ops.zeros_like(mean_square))
            return made
        case "adam":
            made = nn.Adam(parameters, rate, given["beta1"], given["beta2"])
            made.eps = ms.Parameter(ms.Tensor(given["epsilon"], ms.float32), name="eps")
            return made
        case "adamw":
            groups = [
                {
                    "params": [p for p in parameters if (p.ndim >= LEAST_AXES_THAT_DECAY) == decays],
                    "weight_decay": given["weight_decay"] if decays else 0.0,
                }
                for decays in (True, False)
            ]
            betas = (given["beta1"], given["beta2"])
            return optim.AdamW([g for g in groups if g["params"]], rate, betas, given["epsilon"])
    raise Unsupported(f"MindSpore has no optimizer {setup.run.optimizer} in the form that hwfit means by it")
