"""Nothing is lost: whatever is killed and whenever, a plain run afterwards ends as if nothing had been."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwfit.directory_lock import FILE, holder_of
from kills import VICTIMS, Sweep, kill_and_run_again, make_sweep, small_disk, wait_until

ROOT = Path(__file__).parents[2]
KILLS_EACH = 1


@pytest.fixture(scope="session", autouse=True)
def environments():
    """Nothing is measured here, so that no environment is needed."""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Sweep, float]:
    """A sweep that nobody disturbed, and its seconds."""
    directory = tmp_path_factory.mktemp("unbroken")
    sweep = make_sweep(directory / "a sweep", directory / "recorded")
    started = time.monotonic()
    sweep.run()
    return sweep, time.monotonic() - started


@pytest.fixture
def sweep(tmp_path, unbroken) -> Sweep:
    """The same study in a directory of its own."""
    return make_sweep(tmp_path / "a sweep", unbroken[0].recorded)


@pytest.mark.parametrize("seed", range(KILLS_EACH))
@pytest.mark.parametrize("victim", [name for name in VICTIMS if name != "disk"])
def test_after_a_kill_a_plain_run_ends_as_if_nothing_had_been(sweep, unbroken, victim, seed):
    kill_and_run_again(sweep, victim, *unbroken, seed=seed)


@pytest.mark.parametrize("seed", range(KILLS_EACH))
def test_after_a_full_disk_a_plain_run_ends_as_if_nothing_had_been(tmp_path, unbroken, seed):
    try:
        with small_disk(tmp_path / "small") as place:
            sweep = make_sweep(place / "a sweep", unbroken[0].recorded)
            kill_and_run_again(sweep, "disk", *unbroken, seed=seed)
    except PermissionError as error:
        pytest.skip(str(error))


PROFILES = "results/profiles/node-0/torch/net-0/baseline/single_stream"
PROBE = "results/devices/node-0/probe.json"


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def nothing(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("damages", "again"),
    [
        ({f"{PROFILES}/round0/bs1.json": flipped, f"{PROFILES}/round0/bs8.npz": flipped}, 2),
        ({f"{PROFILES}/round1/bs*.json": half, "results/confirmations/node-0.json": flipped}, 1),
        ({"results/models/net-0/card.json": zeros, "results/plan.json": half, PROBE: nothing}, 0),
    ],
)
def test_what_was_damaged_is_made_again_and_nothing_else_is_measured(sweep, unbroken, damages, again):
    shutil.rmtree(sweep.directory)
    shutil.copytree(unbroken[0].directory, sweep.directory)
    for name, damage in damages.items():
        path = next(sweep.directory.glob(name))
        path.write_bytes(damage(path.read_bytes()))
    said = sweep.run()
    for name in damages:
        assert name.partition("*")[0].removesuffix(".npz") in said
    assert sweep.table() == unbroken[0].table()
    more = sweep.begun() - unbroken[0].begun()
    assert sum(more.values()) == again, more
    assert "Nothing to be done" in sweep.run()


def test_a_second_workflow_is_told_who_holds_the_directory_and_a_dry_run_is_not_hindered(sweep):
    process = sweep.start()
    lock = sweep.directory / FILE
    wait_until(lambda: holder_of(lock), "no lock is taken")
    said = sweep.run(fails=True)
    for told in (f"process {process.pid} on {socket.gethostname()}", "since", "snakemake", sweep.targets[0]):
        assert told in said
    assert "Traceback" not in said
    assert sweep.targets[0] in sweep.run("--dry-run")
    retry = subprocess.run(
        [sys.executable, "-m", "hwfit", "retry"],
        cwd=sweep.directory,
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
    )
    assert retry.returncode == 1
    assert f"process {process.pid}" in retry.stderr
    assert process.wait(timeout=120) == 0
    assert holder_of(lock) is None
    assert "Nothing to be done" in sweep.run()
