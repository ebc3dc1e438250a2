"""Training in TensorFlow: a step is one graph (`tf.function`), and optimizers are Keras' own.

Keras writes two of them in another form than torch, and the same steps come of it so:

- Its Adam adds epsilon before the bias of the second moment is corrected ("epsilon hat", Kingma and Ba, 2015,
  section 2); torch after. With epsilon * sqrt(1 - beta2^t) at step t the two are one.
- Its momentum keeps the learning rate inside of the velocity, torch outside. Where the rate changes, the
  velocity is scaled by the new rate over the old ("momentum correction": Goyal et al., *Accurate, Large
  Minibatch SGD*, 2017, section 3).

Its RMSprop adds epsilon to the mean square, torch to the root: it gets epsilon squared, as long as that is
too small to show.

Run on: CPU (tensorflow-cpu 2.21.0, keras 3.15).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hwfit.worker import models, zoo
from hwfit.worker.errors import Unsupported
from hwfit.worker.runtimes.tensorflow import arranged_for, describe, device_of
from hwfit.worker.training import initial
from hwfit.worker.training.trainer import EVALUATION_BATCH, LEAST_AXES_THAT_DECAY, Setup, Trainer
from hwfit.worker.zoo import keras_layers


class TensorFlowTrainer(Trainer):
    """A Keras model, or the zoo's language model, with its optimizer and the data on a device."""

    def __init__(self, setup: Setup) -> None:
        if setup.processes > 1:
            raise Unsupported("training by several processes is there in torch alone")
        if setup.threads:
            tf.config.threading.set_intra_op_parallelism_threads(setup.threads)
        self.setup = setup
        self.device = device_of(setup.accelerator, setup.index)
        keras.utils.set_random_seed(setup.run.seed)
        # What is computed twice is the same twice, as a run that is taken up again needs it.
        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self.details: dict[str, Any] = {}
        with tf.device(self.device):
            self.build()
            sets = {"train": setup.data.train, "validation": setup.data.validation, "test": setup.data.test}
            self.data = {name: self.placed(pair) for name, pair in sets.items() if pair}
            self.optimizer = optimizer_of(setup)
            decays = [v for v in self.trained if len(v.shape) >= LEAST_AXES_THAT_DECAY]
            # AdamW decays weights by itself; of the others, weight decay is part of the gradient.
            is_decoupled = setup.run.optimizer == "adamw"
            self.decay = 0.0 if is_decoupled else setup.hyperparameters["weight_decay"]
            if is_decoupled:
                kept = [v for v in self.trained if len(v.shape) < LEAST_AXES_THAT_DECAY]
                self.optimizer.exclude_from_weight_decay(var_list=kept)
            self.decays = [any(v is other for other in decays) for v in self.trained]
            self.optimizer.build(self.trained)
            self.epsilon = tf.Variable(0.0)
            self.last_rate = tf.Variable(0.0)
            if "beta2" in setup.hyperparameters:
                self.optimizer.epsilon = self.epsilon
        self.graph = tf.function(self.traced_step)
        self.evaluation = tf.function(self.judged)

    def build(self) -> None:
        """The network: `call`, `trained` variables, and all `variables`."""
        setup, run = self.setup, self.setup.run
        if run.activation_checkpointing:
            raise Unsupported(f"the RematScope of keras {keras.__version__} fails within tf.function")
        definition: Any = zoo.model(setup.source["zoo"]) if "zoo" in setup.source else None
        if hasattr(definition, "training_tokens"):
            return self.build_language_model(definition)
        if run.precision == "bf16":
            keras.config.set_dtype_policy("mixed_bfloat16")
            self.details["precision"] = "keras mixed_bfloat16; weights and optimizer float32"
        self.model = self.keras_model(definition)
        self.trained, self.variables = list(self.model.trainable_variables), list(self.model.variables)
        self.call = lambda inputs, training: self.model(inputs, training=training)
        return None

    def keras_model(self, definition: Any) -> Any:
        """The source's Keras model, the zoo's with the weights of the seed."""
        setup = self.setup
        if hasattr(definition, "LAYERS"):
            weights = initial.of_layers(definition.LAYERS, setup.run.seed)
            return keras_layers.build(definition.LAYERS, definition.INPUT_SHAPE, weights)
        if definition is not None:
            raise Unsupported(f"{setup.source['zoo']} comes in torch alone")
        return models.called(setup.source, keras.Model, "a keras.Model")

    def build_language_model(self, definition: Any) -> None:
        """The zoo's decoder with the weights of the seed."""
        from hwfit.worker.zoo.llama.tensorflow import Llama

        run = self.setup.run
        if run.precision != "fp32":
            raise Unsupported("the language model is no Keras model in TensorFlow: no mixed precision")
        network = Llama(definition.ARCHITECTURE, initial.of_llama(definition.ARCHITECTURE, run.seed))
        self.names = list(network.weights)
        self.trained = self.variables = list(network.weights.values())
        self.model = network
        self.call = lambda inputs, training: network.logits(inputs)

    def placed(self, pair: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
        """Inputs, images with their channels last, and labels."""
        inputs, labels = pair
        return tf.constant(arranged_for(self.model, inputs)), tf.constant(labels)

    def plan(self, rows: np.ndarray, rates: np.ndarray) -> Sequence[Any]:
        with tf.device(self.device):
            return list(zip(tf.unstack(rows), tf.unstack(rates.astype(np.float32)), strict=True))

    def step(self, planned: Any) -> Any:
        return self.graph(*planned)

    def traced_step(self, rows: Any, rate: Any) -> Any:
        """One step of the optimizer, as a graph."""
        inputs, labels = self.data["train"]
        count = self.setup.run.accumulation
        total, gradients = 0.0, [0.0] * len(self.trained)
        for part in tf.split(rows, count):
            with tf.GradientTape() as tape:
                scores = self.call(tf.gather(inputs, part), True)
                loss = tf.reduce_mean(cross_entropy(scores, tf.gather(labels, part))) / count
            found = tape.gradient(loss, self.trained)
            gradients = [
                before + tf.convert_to_tensor(new) for before, new in zip(gradients, found, strict=True)
            ]
            total += loss
        if self.decay:
            gradients = [
                g + self.decay * v if decays else g
                for g, v, decays in zip(gradients, self.trained, self.decays, strict=True)
            ]
        self.set_rate(rate)
        self.optimizer.apply(gradients, self.trained)
        return total

    def set_rate(self, rate: Any) -> None:
        """The learning rate, and what of the optimizer depends on it or on the step."""
        given = self.setup.hyperparameters
        self.optimizer.learning_rate.assign(rate)
        if "beta2" in given:
            number = tf.cast(self.optimizer.iterations.value + 1, tf.float32)
            self.epsilon.assign(given["epsilon"] * tf.sqrt(1 - tf.pow(given["beta2"], number)))
        if "momentum" in given and self.setup.has_changing_rate:
            for velocity in self.optimizer.momentums:
                velocity.assign(velocity * tf.math.divide_no_nan(rate, self.last_rate))
            self.last_rate.assign(rate)

    def losses(self, pending: Sequence[Any]) -> np.ndarray:
        return tf.stack(pending).numpy().astype(np.float64)

    def evaluate(self, name: str) -> tuple[float, float]:
        inputs, labels = self.data[name]
        loss = right = 0.0
        for start in range(0, len(inputs), EVALUATION_BATCH):
            rows = slice(start, start + EVALUATION_BATCH)
            for_batch = self.evaluation(inputs[rows], labels[rows])
            loss, right = loss + float(for_batch[0]), right + float(for_batch[1])
        return loss / tf.size(labels).numpy(), right / tf.size(labels).numpy()

    def judged(self, inputs: Any, labels: Any) -> tuple[Any, Any]:
        """The sum of the losses, and how many labels score highest."""
        scores = self.call(inputs, False)
        right = tf.equal(tf.argmax(scores, -1), labels)
        return tf.reduce_sum(cross_entropy(scores, labels)), tf.reduce_sum(tf.cast(right, tf.int64))

    def outputs(self) -> int:
        inputs, labels = self.data["train"]
        scores = self.call(inputs[:1], False)
        if not tf.is_tensor(scores) or scores.shape.rank != labels.shape.rank + 1:
            raise Unsupported("the model does not give one score a class: it is no classifier")
        return int(scores.shape[-1])

    def state(self) -> dict[str, np.ndarray]:
        return {str(number): as_numpy(variable) for number, variable in enumerate(self.kept())}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        for number, variable in enumerate(self.kept()):
            variable.assign(state[str(number)])

    def kept(self) -> list[Any]:
        """All variables that the next step depends on; those of dropout's generators are the model's."""
        return [*self.variables, *self.optimizer.variables, self.last_rate]

    def weights(self) -> dict[str, np.ndarray]:
        names = getattr(self, "names", None) or [variable.path for variable in self.trained]
        return {name: as_numpy(variable) for name, variable in zip(names, self.trained, strict=True)}

    def describe(self) -> dict[str, Any]:
        threads = {
            "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        }
        return describe(self.setup.accelerator, self.setup.index) | {"threads": threads}

    def reset_peak_memory(self) -> None:
        if self.setup.accelerator != "cpu":
            tf.config.experimental.reset_memory_stats(self.device.removeprefix("/"))

    def peak_memory_bytes(self) -> int | None:
        if self.setup.accelerator == "cpu":
            return None
        return tf.config.experimental.get_memory_info(self.device.removeprefix("/"))["peak"]


def open_trainer(setup: Setup) -> Trainer:
    return TensorFlowTrainer(setup)


def as_numpy(variable: Any) -> np.ndarray:
    """The value of a variable, of Keras or of TensorFlow."""
    return np.array(tf.convert_to_tensor(variable))


def cross_entropy(scores: Any, labels: Any) -> Any:
    """Of each label against its scores, in fp32."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(scores, tf.float32))


def optimizer_of(setup: Setup) -> Any:
    """Keras' optimizer. Raises Unsupported where it has none of the name."""
    given, rate = setup.hyperparameters, float(setup.run.learning_rate)
    match setup.run.optimizer:
        case "sgd":
            return keras.optimizers.SGD(rate)
        case "momentum":
            return keras.optimizers.SGD(rate, momentum=given["momentum"])
        case "rmsprop":
            return keras.optimizers.RMSprop(rate, rho=given["rho"], epsilon=setup.epsilon_within_the_root())
        case "adam":
            return keras.optimizers.Adam(rate, given["beta1"], given["beta2"])
        case "adamw":
            decay = given["weight_decay"]
            return keras.optimizers.AdamW(
                rate, weight_decay=decay, beta_1=given["beta1"], beta_2=given["beta2"]
            )
    raise Unsupported(f"Keras has no optimizer {setup.run.optimizer} in the form that hwfit means by it")
