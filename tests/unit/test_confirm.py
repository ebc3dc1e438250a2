"""Confirmation goes on until rows are told apart, within its bound; what it says is calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from hwfit.confirm import confirm
from hwfit.decide import TIE_SHARE
from hwfit.decide.contenders import INTERIM_SHARE
from hwfit.device_spread import learn
from hwfit.layout import PROFILES
from hwfit.records import Cell, Profile, profile_path, write_json
from hwfit.uncertainty import draws, estimate
from studies import make_plan

SIZES = (1, 8)


def make_cell(optimization, device="cpu"):
    return Cell("net", device, "torch", optimization, "single_stream")


class Machine:
    """Writes profiles of what each optimization takes a sample, in ms, with the spread of its processes."""

    def __init__(self, times, spread):
        self.times, self.spread = times, spread
        self.generator = np.random.default_rng(0)
        self.measured = []

    def measure(self, plan, cell, round, batch_sizes):
        self.measured.append((round, cell.optimization, tuple(batch_sizes)))
        for size in batch_sizes:
            p50 = self.times[cell.optimization] * size * np.exp(self.generator.normal(0, self.spread))
            metrics = {"latency_p50_ms": p50, "throughput_samples_per_s": size / p50 * 1e3}
            profile = Profile(
                *cell.__dict__.values(),
                batch_size=size,
                round=round,
                status="ok",
                metrics=metrics,
                fingerprints={"subject": "s"},
                details={"median_standard_error": 0.001},
            )
            write_json(profile_path(PROFILES, cell, round, size), profile.to_dict())


def confirmed(tmp_path, monkeypatch, times, spread, others=(), **measurement):
    """The rounds of each optimization at batch size 1; `others` are contenders of the second device."""
    monkeypatch.chdir(tmp_path)
    matrix = {
        "models": ["net"],
        "devices": ["cpu", "gpu0"] if others else ["cpu"],
        "runtimes": ["torch"],
        "optimizations": list(times),
        "batch_sizes": [1],
    }
    plan, machine = make_plan(matrix=matrix, measurement=measurement), Machine(times, spread)
    for cell in plan.cells:
        machine.measure(plan, cell, 0, [1])
    contenders = [{"cell": make_cell(name).__dict__, "batch_size": 1} for name in times]
    found = confirm(plan, contenders, others, machine.measure)
    return {entry["cell"]["optimization"]: entry["rounds"] for entry in found}


def test_rows_far_apart_get_the_rounds_that_all_get(tmp_path, monkeypatch):
    times = {"baseline": 10.0, "int8": 5.0}
    rounds = confirmed(tmp_path, monkeypatch, times, 0.01, confirm_rounds=3)
    assert rounds == {"baseline": [1, 2, 3], "int8": [1, 2, 3]}


def test_rows_that_are_alike_go_on_to_the_bound_and_others_do_not(tmp_path, monkeypatch):
    times = {"baseline": 10.0, "int8": 10.0, "prune50": 20.0}
    rounds = confirmed(tmp_path, monkeypatch, times, 0.02, confirm_rounds=3, most_confirm_rounds=7)
    assert rounds["baseline"] == rounds["int8"] == [1, 2, 3, 4, 5, 6, 7]
    assert rounds["prune50"] == [1, 2, 3]


def test_without_a_bound_of_its_own_it_is_twice_the_rounds(tmp_path, monkeypatch):
    rounds = confirmed(tmp_path, monkeypatch, {"baseline": 10.0, "int8": 10.0}, 0.02, confirm_rounds=2)
    assert rounds["baseline"] == [1, 2, 3, 4]


def test_no_rounds_asked_for_are_none(tmp_path, monkeypatch):
    assert confirmed(tmp_path, monkeypatch, {"baseline": 10.0}, 0.02, confirm_rounds=0) == {"baseline": []}


def test_a_row_that_ties_with_one_of_another_device_goes_on(tmp_path, monkeypatch):
    other = {"cell": make_cell("baseline", "gpu0").__dict__, "batch_size": 1}
    assert confirmed(tmp_path, monkeypatch, {"baseline": 10.0}, 0.02)["baseline"] == [1, 2, 3]
    rounds = confirmed(tmp_path, monkeypatch, {"baseline": 10.0}, 0.02, others=[other])
    assert rounds["baseline"] == [1, 2, 3, 4, 5, 6]


def look(medians, others):
    """Shares of plausible worlds: not behind the leader, and best."""
    device = learn([row] for row in [*medians, *others])
    estimates = [estimate(row, [0.003] * len(row), device.moderated([row])) for row in medians]
    times = draws(estimates, 1000, seed=0)
    leader = int(np.argmin([np.mean(np.log(row)) for row in medians]))
    best = np.bincount(times.argmin(axis=1), minlength=len(medians)) / len(times)
    return (times <= times[:, [leader]]).mean(axis=0), best


def confirmation(generator, truth, spread, differ, least=3, most=6):
    """The last look of a confirmation that stops as `confirm` does, on processes that lie a spread apart,
    which itself differs from row to row.
    """

    def own_spread():
        return spread * np.exp(generator.normal(0, differ))

    spreads = [own_spread() for _ in truth]

    def process(i):
        return float(truth[i] * np.exp(generator.normal(0, spreads[i])))

    others = [list(np.exp(generator.normal(0, own_spread(), 3))) for _ in range(9)]
    medians = [[process(i) for _ in range(least)] for i in range(len(truth))]
    left = list(range(len(truth)))
    for _ in range(most - least):
        shares, _ = look([medians[i] for i in left], others)
        left = [i for i, share in zip(left, shares, strict=True) if share >= INTERIM_SHARE]
        if len(left) < 2:
            break
        for i in left:
            medians[i].append(process(i))
    return look(medians, others)


def test_looking_often_does_not_tell_equal_rows_apart():
    generator = np.random.default_rng(5)
    apart = [confirmation(generator, [10.0, 10.0], 0.04, 0.0)[0].min() < TIE_SHARE for _ in range(800)]
    # 5% with three standard errors of 800 trials.
    assert np.mean(apart) < 0.05 + 3 * (0.05 * 0.95 / 800) ** 0.5


@pytest.mark.parametrize(("spread", "differ"), [(0.02, 0.0), (0.06, 0.0), (0.03, 0.8)])
def test_of_winners_named_with_ninety_percent_about_that_share_is_right(spread, differ):
    generator = np.random.default_rng(7)
    claimed, right = [], []
    for _ in range(1500):
        truth = 10 * np.exp(generator.normal(0, 0.05, size=3))
        _, best = confirmation(generator, truth, spread, differ)
        claimed.append(best.max())
        right.append(best.argmax() == truth.argmin())
    claimed, right = np.array(claimed), np.array(right)
    near_ninety = (claimed > 0.85) & (claimed < 0.95)
    assert near_ninety.sum() > 80
    assert 0.85 <= right[near_ninety].mean() <= 0.95
