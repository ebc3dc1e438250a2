"""What every process does first: nothing for everybody to write, and no life after its Snakemake's."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwfit import process
from hwfit.process import HOST_PATH, OTHERS_WRITE, SNAKEMAKE, deny_others, deny_others_these, python_path
from hwfit.records import write_json

PACKAGE = Path(process.__file__).parents[1]
SLEEPS = """
import sys, time
from hwfit.process import end_with_snakemake
end_with_snakemake()
print("here", flush=True)
time.sleep(60)
"""


def start(snakemake: str) -> subprocess.Popen[str]:
    """A job of a Snakemake with this process number."""
    return subprocess.Popen(
        [sys.executable, "-c", SLEEPS],
        env=os.environ | {"PYTHONPATH": str(PACKAGE), SNAKEMAKE: snakemake},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_job_ends_when_its_snakemake_is_killed():
    with subprocess.Popen(["sleep", "60"]) as snakemake, start(str(snakemake.pid)) as job:
        assert job.stdout.readline() == "here\n"
        assert job.poll() is None
        snakemake.kill()
        assert job.wait(timeout=20) == -signal.SIGTERM


def test_a_job_whose_snakemake_is_gone_already_does_not_begin():
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    with start(str(gone.pid)) as job:
        assert job.wait(timeout=20) == -signal.SIGTERM


@pytest.mark.parametrize("snakemake", ["", "nonsense"])
def test_who_was_started_by_hand_goes_on(snakemake):
    with start(snakemake) as job:
        assert job.stdout.readline() == "here\n"
        time.sleep(0.2)
        assert job.poll() is None
        job.kill()


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_nothing_is_made_that_everybody_may_write(no_umask, tmp_path):
    deny_others()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("")
    write_json(tmp_path / "b" / "record.json", {})
    made = [path for path in tmp_path.rglob("*") if path.stat().st_mode & OTHERS_WRITE]
    assert not made
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o775, "a group may work together"


def test_a_stricter_umask_stays(tmp_path, no_umask):
    os.umask(0o077)
    deny_others()
    (tmp_path / "mine").write_text("")
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o600


def test_what_is_there_already_is_closed_and_links_are_left_alone(tmp_path):
    open_file, link = tmp_path / "open", tmp_path / "link"
    open_file.write_text("")
    open_file.chmod(0o666)
    link.symlink_to("/dev/null")
    deny_others_these([open_file, link])
    assert stat.S_IMODE(open_file.stat().st_mode) == 0o664
    assert stat.S_IMODE(Path("/dev/null").stat().st_mode) & OTHERS_WRITE


def test_a_hosts_own_packages_come_after_hwfit_and_nothing_else_does(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/others")
    monkeypatch.delenv(HOST_PATH, raising=False)
    assert python_path() == str(PACKAGE)
    monkeypatch.setenv(HOST_PATH, "/modules/torch")
    assert python_path().split(os.pathsep) == [str(PACKAGE), "/modules/torch"]
