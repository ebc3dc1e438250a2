"""In torch, TensorFlow and MindSpore optimizers mean the same, and runs can be broken off."""

from __future__ import annotations

import json

import numpy as np
import pytest

from frameworks import ENVIRONMENTS, run_python
from training import make_training_job

FRAMEWORKS = ("torch", "tensorflow", "mindspore")
# Where the learning rate changes as well, since that is where the forms of momentum differ.
RUNS = {
    "sgd": {"run": {"optimizer": "sgd", "learning_rate": 0.1}, "hyperparameters": {"weight_decay": 0.01}},
    "momentum": {
        "run": {"optimizer": "momentum", "learning_rate": 0.02, "schedule": "cosine"},
        "hyperparameters": {"weight_decay": 0.01},
    },
    "rmsprop": {"run": {"optimizer": "rmsprop", "learning_rate": 1e-5}},
    # An epsilon that shows: of two forms, one would be out by some percent.
    "adam": {
        "run": {"optimizer": "adam", "learning_rate": 1e-3},
        "hyperparameters": {"weight_decay": 0.01, "epsilon": 1e-4},
    },
    "adamw": {
        "run": {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "cosine"},
        "hyperparameters": {"weight_decay": 0.1, "epsilon": 1e-4},
    },
    "in micro-batches": {"run": {"optimizer": "momentum", "accumulation": 4}},
    "convolutions": {"run": {"model": "lenet-5", "optimizer": "momentum"}},
}
TRAIN = """
import json, sys
from pathlib import Path
import numpy as np
from hwfit.worker.training import loop
from hwfit.worker.training.job import TrainingJob
from hwfit.worker.training.worker import Session, digest

loop.INTERVAL_SECONDS = 0.0
out, jobs, broken = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
arrays, found = {}, {}

for name, job in jobs.items():
    job = TrainingJob.from_dict(job)
    session = Session(job)
    trainer, first = session.trainer, session.trainer.weights()
    rows = loop.order(session.setup.data.samples, job.run.batch_size, 0, 0)
    rows = np.concatenate([rows, rows])[:10]
    planned = trainer.plan(rows, session.loop.rates(0, 10))
    losses = trainer.losses([trainer.step(each) for each in planned])
    found[name] = losses.tolist()
    for weight, array in trainer.weights().items():
        change = array - first[weight]
        is_kernel = weight.endswith("/kernel") and change.ndim == 2
        key = weight.replace("/kernel", ".weight").replace("/bias", ".bias")
        arrays[f"{name}|{key}"] = change.T if is_kernel else change
np.savez(out, **arrays)

class Killed(BaseException):
    pass

def train(job, steps=None):
    session = Session(TrainingJob.from_dict(job))
    said = []
    def alive():
        said.append(None)
        if len(said) == steps:
            raise Killed
    session.loop.alive = alive
    try:
        session.loop.train()
    except Killed:
        pass
    return session

whole, parts = broken
wanted = train(whole)
train(parts, 5)
resumed = train(parts)
found["whole"], found["resumed"] = digest(wanted.trainer.weights()), digest(resumed.trainer.weights())
found["resumed_at"], found["steps"] = resumed.loop.resumed_at, resumed.loop.progress.step
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def trained(python_of, tmp_path_factory):
    """What a framework made of ten steps of each run, and of a run that was broken off."""
    directory = tmp_path_factory.mktemp("training")
    done: dict[str, tuple[dict, dict]] = {}

    def train(runtime: str) -> tuple[dict, dict]:
        if runtime not in done:
            place = directory / runtime
            jobs = {
                name: make_training_job(place, **of(settings, runtime)).to_dict()
                for name, settings in RUNS.items()
            }
            to_break = {"run": {"model": "lenet-5", "runtime": runtime, "optimizer": "adam"}, "epochs": 2}
            to_break["run"]["learning_rate"] = 1e-3
            broken = [make_training_job(place / name, **to_break).to_dict() for name in ("whole", "parts")]
            arguments = (str(place / "changes.npz"), dumped(jobs), dumped(broken))
            said = run_python(python_of(ENVIRONMENTS[runtime]), TRAIN, *arguments)
            with np.load(place / "changes.npz") as stored:
                done[runtime] = said, {name: stored[name] for name in stored.files}
        return done[runtime]

    return train


def of(settings: dict, runtime: str) -> dict:
    return settings | {"run": settings["run"] | {"runtime": runtime}}


def dumped(jobs) -> str:
    return json.dumps(jobs, default=str)


@pytest.mark.parametrize("name", [name for name in RUNS if name != "convolutions"])
@pytest.mark.parametrize("runtime", FRAMEWORKS[1:])
def test_ten_steps_are_those_of_torch(trained, runtime, name):
    """Within a thousandth of the largest change, but for a few weights: those whose gradient is rounding
    alone, of which an optimizer that divides by the gradient's size makes full steps.
    """
    wanted, found = (
        {key: change for key, change in trained(each)[1].items() if key.startswith(f"{name}|")}
        for each in ("torch", runtime)
    )
    assert wanted.keys() == found.keys() != set()
    largest = max(np.abs(change).max() for change in wanted.values())
    apart = np.concatenate([np.abs(found[key] - wanted[key]).ravel() for key in wanted]) / largest
    assert largest > 0
    assert (apart > 1e-3).mean() < 1e-4
    size = np.sqrt(sum((change**2).sum() for change in wanted.values()))
    assert np.sqrt((apart**2).sum()) * largest < 1e-3 * size


@pytest.mark.parametrize("runtime", FRAMEWORKS[1:])
def test_convolutions_lose_as_in_torch(trained, runtime):
    wanted, found = (trained(each)[0]["convolutions"] for each in ("torch", runtime))
    assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("runtime", FRAMEWORKS)
def test_a_run_that_was_broken_off_ends_in_the_same_weights_bit_for_bit(trained, runtime):
    said, _ = trained(runtime)
    assert said["resumed"] == said["whole"]
    assert said["resumed_at"] == 4
    assert said["steps"] == 18
