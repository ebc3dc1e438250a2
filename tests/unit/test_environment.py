"""An environment is what its requirements file says, made once, or a reason."""

import json
import sys
from pathlib import Path

import pytest

from hwfit.records import write_json
from hwfit.worker.environment import build
from wheels import write_wheel

THERE = {"status": "ok", "reason": ""}
ABSENT = {"status": "unavailable", "reason": "no NVIDIA driver"}


@pytest.fixture
def build_in(tmp_path):
    def run(requirements="# nothing\n", kind="venv", probes=(THERE,)):
        (tmp_path / "some.txt").write_text(requirements)
        paths = []
        for number, probe in enumerate(probes):
            paths.append(tmp_path / f"probe{number}.json")
            write_json(paths[-1], probe)
        return build("some", kind, tmp_path / "some.txt", paths, tmp_path / "environments")

    return run


def test_a_venv_is_made_once_and_holds_what_is_asked_for(build_in, tmp_path):
    first = build_in(write_wheel(tmp_path, "1.0"))
    assert first["status"] == "ok", first["reason"]
    assert first["packages"]["tiny"] == "1.0"
    assert first["python_version"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    stamp = Path(first["python"]).parents[1] / "complete.json"
    before = stamp.stat().st_mtime_ns
    assert build_in(write_wheel(tmp_path, "1.0"))["python"] == first["python"]
    assert stamp.stat().st_mtime_ns == before


def test_a_wheelhouse_is_enough_where_no_package_index_can_be_reached(build_in, tmp_path, monkeypatch):
    write_wheel(tmp_path, "1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    found = build_in("tiny==1.0\n")
    assert (found["status"], found["packages"].get("tiny")) == ("ok", "1.0"), found["reason"]


def test_another_pin_is_another_environment_and_a_comment_is_not(build_in):
    plain = build_in("# a comment\n")
    assert build_in("# another\n\n")["python"] == plain["python"]
    pinned = build_in("--no-index\n# a comment\n")
    assert pinned["status"] == "ok"
    assert pinned["python"] != plain["python"]


def test_one_that_is_half_made_is_made_anew(build_in):
    found = build_in()
    home = Path(found["python"]).parents[1]
    (home / "complete.json").unlink()
    (home / "half").write_text("")
    assert build_in()["status"] == "ok"
    assert not (home / "half").exists()


def test_absent_hardware_installs_nothing(build_in, tmp_path):
    found = build_in("no-such-package==1\n", probes=(ABSENT,))
    assert (found["status"], found["reason"], found["python"]) == ("unavailable", "no NVIDIA driver", None)
    assert not (tmp_path / "environments").exists()


def test_one_device_of_two_that_is_there_is_enough(build_in):
    assert build_in(kind="host", probes=(ABSENT, THERE))["status"] == "ok"


def test_what_pip_cannot_install_is_a_reason_with_its_last_word(build_in):
    found = build_in("--no-index\nno-such-package==1\n")
    assert found["status"] == "unavailable"
    assert "no-such-package" in found["reason"]
    assert "environment some" in found["reason"]


def test_a_python_that_is_nowhere_is_a_reason(build_in):
    found = build_in("# python: >=3.98,<3.99\n")
    assert found["status"] == "unavailable"
    assert ">=3.98" in found["reason"]


def test_host_is_the_python_that_runs(build_in, tmp_path):
    found = build_in("no-such-package==1\n", kind="host")
    assert found["python"] == sys.executable
    assert "pytest" in found["packages"]
    assert not (tmp_path / "environments").exists()


def test_conda_is_the_python_on_the_path(build_in, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert build_in(kind="conda")["python"] == str(tmp_path / "bin" / "python")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "--sdm conda" in build_in(kind="conda")["reason"]


def test_what_it_says_is_json(build_in):
    assert json.loads(json.dumps(build_in(kind="host")))["seconds"] >= 0
