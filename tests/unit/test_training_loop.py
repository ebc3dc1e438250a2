"""The loop that trains: what it keeps, where it stops, and that a broken run ends as an unbroken one."""

from __future__ import annotations

import math
import random
import resource
import signal
import time

import numpy as np
import pytest

import training
from hwfit.records import Flag
from hwfit.training.records import LOG, read_log
from hwfit.worker.meters import rapl
from hwfit.worker.training import loop as training_loop
from hwfit.worker.training.checkpoint import NAMES
from hwfit.worker.training.loop import Diverged, WriteError
from hwfit.worker.training.metering import Metering
from powercap import Package
from training import LinearTrainer, make_training_job, open_loop

TIMES = ("seconds", "samples_per_s", "at")


@pytest.fixture(autouse=True)
def every_step_is_an_interval(monkeypatch):
    """So that a run of milliseconds has checkpoints within an epoch."""
    monkeypatch.setattr(training_loop, "INTERVAL_SECONDS", 0.0)


def trained(job, **more):
    loop = open_loop(job, **more)
    loop.train()
    return loop


def lines(job):
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_log(job.directory)]


class Killed(BaseException):
    """Stands for the end of a process: nothing of the loop catches it."""


def killing(after: int):
    """Ends the process the nth time that it says that it lives."""
    said = []

    def alive():
        said.append(None)
        if len(said) == after:
            raise Killed

    return alive


def break_off(job, after: int, **more) -> None:
    """Train until the worker has said so often that it lives."""
    with pytest.raises(Killed):
        trained(job, alive=killing(after), **more)


@pytest.mark.parametrize("seed", range(3))
def test_a_run_that_is_broken_off_anywhere_ends_in_the_same_weights_and_log(tmp_path, seed):
    settings = {"run": {"schedule": "cosine"}, "hyperparameters": {"warm_up_epochs": 0.5}}
    whole, broken = (make_training_job(tmp_path / name, **settings) for name in ("whole", "broken"))
    wanted = trained(whole)
    for after in random.Random(seed).choices(range(1, 9), k=3):
        break_off(broken, after)
    found = trained(broken)
    assert (found.trainer.weight == wanted.trainer.weight).all()
    assert found.progress.step == wanted.progress.step == 3 * 9
    assert 1 < found.progress.sessions <= 4
    assert lines(broken) == lines(whole)


def test_what_a_kill_loses_is_made_again_and_nothing_else(tmp_path):
    job = make_training_job(tmp_path)
    break_off(job, 5)
    loop = open_loop(job)
    saved = loop.progress.step
    assert saved >= 4
    loop.train()
    assert len(loop.trainer.steps) == 3 * 9 - saved


def test_rungs_go_on_from_each_other_as_one_run(tmp_path):
    whole = trained(make_training_job(tmp_path / "whole"))
    for rung, epochs in enumerate((1, 2, 3)):
        loop = trained(make_training_job(tmp_path / "rungs", rung=rung, epochs=epochs))
        assert loop.progress.epoch == epochs
    assert (loop.trainer.weight == whole.trainer.weight).all()
    assert loop.progress.train_s > loop.progress.epoch_s


def test_an_early_rung_that_is_made_again_does_not_take_a_later_ones_weights(tmp_path):
    trained(make_training_job(tmp_path, rung=1, epochs=3))
    loop = trained(make_training_job(tmp_path, rung=0, epochs=1))
    assert loop.progress.step == 9
    assert "of a later rung" in loop.said[0]


def test_an_epoch_sees_each_sample_once_and_each_in_another_order(tmp_path):
    steps = trained(make_training_job(tmp_path)).trainer.steps
    epochs = [np.concatenate(steps[first : first + 9]) for first in (0, 9, 18)]
    assert all(len(set(epoch)) == len(epoch) == 288 for epoch in epochs)
    assert not (epochs[0] == epochs[1]).all()


def test_training_ends_at_the_target_and_a_later_rung_has_nothing_to_do(tmp_path):
    settings = {"target_accuracy": 0.9, "max_epochs": 9}
    loop = trained(make_training_job(tmp_path, epochs=3, **settings))
    reached = loop.progress.reached
    assert reached["epochs"] == loop.progress.epoch < 3
    assert reached["samples"] == reached["epochs"] * 9 * 32
    assert 0 < reached["seconds"] <= loop.progress.train_s
    later = trained(make_training_job(tmp_path, epochs=9, rung=1, **settings))
    assert later.progress.reached == reached
    assert not later.trainer.steps


def test_a_target_out_of_reach_is_not_reached(tmp_path):
    loop = trained(make_training_job(tmp_path, target_accuracy=1.0, run={"learning_rate": 1e-9}))
    assert loop.progress.reached is None
    assert loop.progress.epoch == 3


def test_a_line_of_the_log_has_what_its_schema_says(tmp_path):
    job = make_training_job(tmp_path)
    trained(job)
    assert [set(line) for line in read_log(job.directory)] == [set(LOG)] * 3
    assert [line["step"] for line in read_log(job.directory)] == [9, 18, 27]


def test_a_loss_that_is_no_number_ends_the_run_at_its_step(tmp_path):
    loop = open_loop(make_training_job(tmp_path))
    good = loop.trainer.step
    loop.trainer.step = lambda planned: math.nan if loop.progress.step >= 6 else good(planned)
    with pytest.raises(Diverged, match="the loss of step 7 is nan") as diverged:
        loop.train()
    assert diverged.value.step == 7


def test_a_loss_that_explodes_ends_the_run(tmp_path):
    loop = open_loop(make_training_job(tmp_path, run={"learning_rate": 3.0}))
    with pytest.raises(Diverged, match=r"the loss grew from 1\.\d+ to"):
        loop.train()
    assert loop.progress.step < 9


@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda content: content[:20]])
def test_of_a_checkpoint_cut_short_the_one_before_is_taken_and_that_is_said(tmp_path, damage):
    whole, job = (make_training_job(tmp_path / name) for name in ("whole", "broken"))
    break_off(job, 8)
    newest = max((job.directory / name for name in NAMES), key=training_loop.checkpoint.step_of)
    newest.write_bytes(damage(newest.read_bytes()))
    loop = open_loop(job)
    assert loop.resumed_at == 6
    assert newest.name in loop.said[0]
    assert "cut short" in loop.said[0]
    loop.train()
    assert (loop.trainer.weight == trained(whole).trainer.weight).all()


def test_where_no_checkpoint_is_whole_a_run_begins_anew(tmp_path):
    job = make_training_job(tmp_path)
    break_off(job, 8)
    for name in NAMES:
        path = job.directory / name
        content = bytearray(path.read_bytes())
        content[-50] ^= 1
        path.write_bytes(content)
    loop = open_loop(job)
    assert loop.resumed_at is None
    assert [("checksum" in said) for said in loop.said] == [True, True]
    loop.train()
    assert len(read_log(job.directory)) == 3


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(tmp_path):
    trained(make_training_job(tmp_path))
    loop = open_loop(make_training_job(tmp_path, hyperparameters={"momentum": 0.5}))
    assert loop.resumed_at is None
    assert "of another run" in loop.said[0]


def test_a_full_disk_is_said_and_keeps_the_last_checkpoint(tmp_path):
    """By the kernel's own limit on a file's size, which fails a write as a full disk does."""
    job = make_training_job(tmp_path)
    loop = open_loop(job)
    made = []

    def alive():
        made.append(None)
        if len(made) == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))

    loop.alive = alive
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(WriteError, match=r"could not be written .* the checkpoint of step 4 is kept"):
            loop.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, usual)
    assert sorted(path.name for path in job.directory.iterdir()) == [
        "checkpoint.0",
        "checkpoint.1",
        "log.jsonl",
    ]
    assert open_loop(job).resumed_at == 4


def test_a_log_on_a_full_disk_is_named(tmp_path):
    job = make_training_job(tmp_path)
    loop = open_loop(job)
    loop.log_path.unlink()
    loop.log_path.symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"log\.jsonl could not be written .No space left on device"):
        loop.train()


def test_energy_adds_up_over_sessions_and_is_unknown_once_it_was_not_metered(tmp_path, monkeypatch):
    monkeypatch.setenv("HWFIT_POWERCAP", str(tmp_path / "powercap"))
    # Sessions of a moment, and a counter that is written each millisecond.
    monkeypatch.setattr(rapl, "RESOLUTION_S", 0.01)

    def energy_of(epochs: int, identity: str) -> float | None:
        job = make_training_job(tmp_path, epochs=epochs, rung=epochs, energy={"seconds": 1.0})
        loop = open_loop(job, metering=Metering(job, identity))
        loop.trainer.losses = lambda pending: time.sleep(0.05) or np.array(pending)
        loop.train()
        assert loop.metering.source == ("counter:rapl" if identity == "cpu:" else "")
        return loop.progress.energy_j

    with Package(tmp_path / "powercap", idle_w=40):
        first = energy_of(1, "cpu:")
        both = energy_of(2, "cpu:")
        assert 0 < first < both
        assert energy_of(3, "unknown:0") is None


def test_power_is_not_sampled_beside_steps_that_are_timed(tmp_path):
    command = {"command": f"touch {tmp_path}/ran; echo 40", "scope": "node", "interval_s": 0.01}
    job = make_training_job(tmp_path, energy={"seconds": 1.0} | command)
    loop = open_loop(job, metering=Metering(job, "unknown:0"))
    loop.train()
    assert (loop.progress.energy_j, loop.metering.source) == (None, "")
    (absence,) = loop.metering.absences
    assert absence["source"] == "sampled:command" and "counters alone" in absence["reason"]
    assert not (tmp_path / "ran").exists()


def test_a_target_that_is_raised_is_trained_for(tmp_path):
    settings = {"epochs": 3, "max_epochs": 3}
    assert trained(make_training_job(tmp_path, target_accuracy=0.5, **settings)).progress.epoch == 1
    beyond_reach = trained(make_training_job(tmp_path, target_accuracy=1.1, **settings)).progress
    assert (beyond_reach.epoch, beyond_reach.reached) == (3, None)


def test_a_target_that_is_lowered_is_found_in_the_log(tmp_path):
    settings = {"epochs": 3, "max_epochs": 3}
    at_once = trained(make_training_job(tmp_path / "low", target_accuracy=0.5, **settings)).progress.reached
    trained(make_training_job(tmp_path / "high", target_accuracy=1.1, **settings))
    later = trained(make_training_job(tmp_path / "high", target_accuracy=0.5, **settings)).progress
    assert later.epoch == 3
    assert (later.reached["epochs"], later.reached["samples"]) == (1, at_once["samples"])
    assert later.reached["seconds"] < later.train_s


def test_doubts_about_a_session_that_was_broken_off_are_kept(tmp_path):
    job = make_training_job(tmp_path)
    busy = Flag("foreign_load", "others used 60%", 0.6)
    break_off(job, 5, doubts=lambda: [busy])
    assert trained(job).flags_before == [busy]


def test_what_the_first_step_of_a_session_takes_to_start_is_no_training(tmp_path, monkeypatch):
    """A step of 1 s, and 60 s more to compile the first one of each session."""
    elapsed_s = 0.0

    class Compiles(LinearTrainer):
        def step(self, planned):
            nonlocal elapsed_s
            elapsed_s += 1.0 if self.steps else 61.0
            return super().step(planned)

    monkeypatch.setattr(training, "LinearTrainer", Compiles)
    whole, broken = (make_training_job(tmp_path / name) for name in ("whole", "broken"))
    assert trained(whole, clock=lambda: elapsed_s).progress.train_s == pytest.approx(3 * 9)
    break_off(broken, 12, clock=lambda: elapsed_s)
    progress = trained(broken, clock=lambda: elapsed_s).progress
    assert progress.sessions == 2
    assert progress.train_s == pytest.approx(3 * 9)
    assert progress.first_step_s == 61
