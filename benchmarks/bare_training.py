"""Training by hwfit beside a loop written by hand, epoch by epoch in turn. Prints one JSON line.

python bare_training.py JOB EPOCHS

Both train the zoo's network with Adam on the same samples, from the same weights, in batches drawn anew each
epoch; hwfit's side has all that a run has but evaluation and checkpoints, which its records tell apart.
"""

import json
import os
import sys
import time

import numpy as np

from hwfit.worker.training import initial
from hwfit.worker.training.job import TrainingJob
from hwfit.worker.training.worker import Session
from hwfit.worker.zoo import lenet_5, lenet_300_100

NETWORKS = {"lenet-5": lenet_5, "lenet-300-100": lenet_300_100}
WARM_UP_EPOCHS = 3

job = TrainingJob.from_dict(json.loads(sys.argv[1]))
epochs = int(sys.argv[2])
batch_size, rate = job.run.batch_size, job.run.learning_rate
session = Session(job, alive=lambda: None)
x, y = session.setup.data.train
steps = len(x) // batch_size
layers = NETWORKS[job.run.model].LAYERS
weights = initial.of_layers(layers, job.run.seed)
generator = np.random.default_rng(0)


def torch_epoch():
    import torch

    from hwfit.worker.zoo import torch_layers

    network = torch_layers.build(layers)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    network.to(memory_format=torch.channels_last).train()
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, fused=True)

    def epoch():
        total = 0.0
        for rows in torch.randperm(len(inputs))[: steps * batch_size].split(batch_size):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / steps

    return epoch


def tensorflow_epoch():
    import keras
    import tensorflow as tf

    from hwfit.worker.zoo import keras_layers

    network = keras_layers.build(layers, NETWORKS[job.run.model].INPUT_SHAPE, weights)
    inputs, labels = tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(y)
    optimizer = keras.optimizers.Adam(rate)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(rows):
        with tf.GradientTape() as tape:
            scores = network(tf.gather(inputs, rows), training=True)
            loss = loss_of(tf.gather(labels, rows), scores)
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return loss

    def epoch():
        order = generator.permutation(len(x))[: steps * batch_size].reshape(steps, batch_size)
        total = 0.0
        for rows in tf.unstack(tf.constant(order.astype(np.int32))):
            total += step(rows)
        return float(total) / steps

    return epoch


def mindspore_epoch():
    import mindspore as ms
    from mindspore import nn, ops

    from hwfit.worker.zoo import mindspore_layers

    network = mindspore_layers.build(layers, weights)
    network.set_train(True)
    inputs = ms.Parameter(ms.Tensor(x), name="bare.inputs", requires_grad=False)
    labels = ms.Parameter(ms.Tensor(y.astype(np.int32)), name="bare.labels", requires_grad=False)
    optimizer = nn.Adam(network.trainable_params(), rate)

    def loss_of(rows):
        return ops.cross_entropy(network(ops.gather(inputs, rows, 0)), ops.gather(labels, rows, 0))

    gradients_of = ms.value_and_grad(loss_of, None, optimizer.parameters)

    @ms.jit
    def step(rows):
        loss, gradients = gradients_of(rows)
        optimizer(gradients)
        return loss

    def epoch():
        order = generator.permutation(len(x))[: steps * batch_size].reshape(steps, batch_size)
        losses = [step(ms.Tensor(rows)) for rows in order.astype(np.int32)]
        return sum(float(loss.asnumpy()) for loss in losses) / steps

    return epoch


bare_epoch = {"torch": torch_epoch, "tensorflow": tensorflow_epoch, "mindspore": mindspore_epoch}
bare = bare_epoch[job.run.runtime]()


def hwfit():
    """An epoch as a run makes it, without what its record tells apart."""
    session.loop.train_epoch()
    progress = session.loop.progress
    progress.epoch += 1
    progress.step_in_epoch, progress.epoch_loss, progress.epoch_s = 0, 0.0, 0.0


seconds: dict[str, list[float]] = {"hwfit": [], "bare": []}
sides = {"hwfit": hwfit, "bare": bare}
for number in range(WARM_UP_EPOCHS + epochs):
    for name in generator.permutation(list(sides)):
        start = time.perf_counter()
        sides[name]()
        if number >= WARM_UP_EPOCHS:
            seconds[name].append(time.perf_counter() - start)
print(json.dumps({"steps": steps, "seconds": seconds}), flush=True)
os._exit(0)
