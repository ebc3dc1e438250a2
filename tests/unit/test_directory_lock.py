"""One workflow at a time in a directory: who holds it is told, and the dead are told from the living."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from hwfit import directory_lock
from hwfit.directory_lock import Held, hold, holder_of, shown, this_process

PACKAGE = Path(directory_lock.__file__).parents[1]
HOLDS = """
import sys, time
from pathlib import Path
from hwfit.directory_lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / ".snakemake" / "hwfit.lock"


@pytest.fixture
def other(file):
    """Another process that holds the directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(file)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_who_comes_second_is_told_who_is_there(file, other):
    with pytest.raises(Held, match=rf"process {other.pid} on .*, since .*: ") as held, hold(file):
        pass
    assert "Another workflow runs in this directory" in str(held.value)
    assert holder_of(file).pid == other.pid


def test_who_was_killed_is_named_once_to_who_comes_next(file, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert holder_of(file) is None
    with hold(file) as before:
        assert before.pid == other.pid
    with hold(file) as before:
        assert before is None


def test_who_ends_leaves_nothing(file):
    with hold(file) as before:
        assert before is None
        assert holder_of(file).pid == os.getpid()
    with pytest.raises(ZeroDivisionError), hold(file):
        raise ZeroDivisionError
    assert file.read_bytes() == b""


def test_a_holder_on_another_host_is_not_taken_for_dead_while_snakemake_has_locks(file):
    elsewhere = replace(this_process(), pid=4711, host="node-7", boot="another")
    locks = file.parent / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/plan.json\n")
    file.write_text(json.dumps(asdict(elsewhere)))
    with pytest.raises(Held, match=r"(?s)process 4711 on node-7.*make unlock"), hold(file):
        pass
    assert json.loads(file.read_text())["pid"] == 4711
    (locks / "0.output.lock").unlink()
    with hold(file) as before:
        assert before == elsewhere


def test_a_container_of_the_same_machine_is_in_sight():
    assert not replace(this_process(), host="container-2").is_out_of_sight
    assert not replace(this_process(), boot="before the machine was started anew").is_out_of_sight


def test_a_lock_file_that_says_nothing_is_no_obstacle(file):
    file.parent.mkdir()
    file.write_bytes(b"\0\0\0")
    with hold(file) as before:
        assert before is None


def test_a_lock_is_not_taken_through_a_link(file, tmp_path):
    file.parent.mkdir()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), hold(file):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_command_is_shown_without_credentials():
    told = shown(["/usr/bin/snakemake", "--config", "tracking={uri: postgresql://me:hunter2@db/runs}"])
    assert told.startswith("snakemake --config")
    assert "hunter2" not in told
