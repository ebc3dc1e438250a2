"""A SQLite store is written ahead on a host's own file systems, and left as it is on shared ones."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from hwfit.tracking.sqlite import file_system, write_ahead
from tracked import Sweep


def make_mounts(directory, *lines):
    path = directory / "mounts"
    path.write_text("".join(f"{line} rw 0 0\n" for line in lines))
    return path


def mode(database):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "fuse.sshfs", "cifs", "gpfs"])
def test_a_file_system_that_hosts_share_is_left_alone(tmp_path, kind):
    mounts = make_mounts(tmp_path, "/dev/vda / ext4", f"server:/data {tmp_path} {kind}")
    assert not write_ahead(tmp_path / "mlflow.db", mounts)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_host_that_does_not_tell_its_file_systems_is_left_alone(tmp_path):
    assert not write_ahead(tmp_path / "mlflow.db", tmp_path / "not there")


def test_a_local_one_is_written_ahead_and_keeps_what_it_held(tmp_path):
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("create table kept (value)")
    assert write_ahead(database, make_mounts(tmp_path, "/dev/vda / ext4"))
    assert mode(database) == "wal"
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("kept",)]


def test_one_that_somebody_is_writing_stays_as_it_is(tmp_path):
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as other:
        other.execute("create table kept (value)")
        other.execute("begin exclusive")
        assert not write_ahead(database, make_mounts(tmp_path, "/dev/vda / ext4"))


def test_the_mount_nearest_to_a_directory_counts_and_of_one_place_the_last(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    mounts = make_mounts(
        tmp_path, "/dev/vda / ext4", f"/dev/vdb {inner} xfs", f"server:/x {inner} nfs", "proc /proc proc"
    )
    assert file_system(inner, mounts) == "nfs"
    assert file_system(tmp_path, mounts) == "ext4"


def test_a_job_that_ended_leaves_all_in_the_database_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = f"from pathlib import Path; from tracked import Sweep; Sweep(Path({str(tmp_path)!r})).log()"
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path})
    assert not (tmp_path / "results" / "mlflow.db-wal").exists()
    assert len(Sweep(tmp_path).children()) == 6
