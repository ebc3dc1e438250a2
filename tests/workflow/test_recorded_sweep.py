"""Sweeps that are replayed: all of the workflow but the measuring, on hardware that is not here."""

import json
import subprocess
import sys

import pytest
from benchmarks import scale

from hwfit.records import Cell
from projects import ROOT, Project
from recordings import make_config, record

# Models, devices, runtimes, optimizations.
SIZE, SEED = (3, 2, 2, 2), 14
SIZES = (1, 8, 64)
FEWER = SIZES[:2]


def configured(project: Project, batch_sizes: tuple[int, ...]) -> None:
    parts = make_config(*SIZE, batch_sizes)
    project.configure(parts.pop("config"), **parts)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """A project whose sweep was replayed once, and what was recorded of each combination."""
    directory = tmp_path_factory.mktemp("replayed")
    found = record(make_config(*SIZE, SIZES), directory / "recording", SEED)
    project = Project(directory / "a project")
    configured(project, FEWER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWFIT_RECORDED", str(directory / "recording"))
        patch.setenv("HWFIT_RECORDED_PACE", "0")
        patch.setenv("PYTHONPATH", str(ROOT / "workflow"))
        project.run("--scheduler", "greedy")
        yield project, found


def outcomes(project: Project) -> dict[tuple[Cell, int], str]:
    lines = project.table().to_dict("records")
    cells = [Cell(**{name: line[name] for name in Cell.__dataclass_fields__}) for line in lines]
    return {(cell, line["batch_size"]): line["status"] for cell, line in zip(cells, lines, strict=True)}


def begun(project: Project) -> list[int]:
    """The batch size of every measurement that a worker began in a first look."""
    logs = (project.directory / "results/attempts").glob("**/round0.jsonl")
    events = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [event["batch_size"] for event in events if event["event"] == "begin"]


def test_an_unbroken_replay_has_the_rows_and_statuses_of_the_recording(replayed):
    project, recorded = replayed
    wanted = {key: status for key, (status, _) in recorded.items() if key[1] in FEWER}
    assert len(wanted) == 48
    assert set(wanted.values()) == {"ok", "oom", "crashed"}
    assert outcomes(project) == wanted


def test_its_rows_say_that_nothing_was_measured_here(replayed):
    project, _ = replayed
    table = project.table()
    assert table["flags"].str.split().map(lambda codes: "recorded" in codes).all()
    page = (project.directory / "reports" / "hardware-selection.html").read_text()
    assert "Replayed from the records of another run" in page


def test_retry_starts_workers_for_what_may_go_away_and_for_nothing_else(replayed):
    project, recorded = replayed
    before = begun(project)
    gone = [key for key, (status, _) in recorded.items() if status == "crashed" and key[1] in FEWER]
    subprocess.run([sys.executable, "-m", "hwfit", "retry"], cwd=project.directory, check=True)
    project.run("--scheduler", "greedy")
    assert len(begun(project)) - len(before) == len(gone) > 0
    assert outcomes(project)[gone[0]] == "crashed"


def test_one_batch_size_more_starts_workers_for_that_alone(replayed):
    project, recorded = replayed
    before = begun(project)
    records = list((project.directory / "results/profiles").glob("**/round0/bs[18].json"))
    written = {path: path.read_bytes() for path in records}
    configured(project, SIZES)
    project.run("--scheduler", "greedy")
    new = sorted(begun(project))[len(before) :]
    assert new == [64] * len({cell for cell, _ in recorded})
    assert {path: path.read_bytes() for path in records} == written
    assert outcomes(project) == {key: status for key, (status, _) in recorded.items()}


def test_what_was_not_recorded_fails_the_job_and_its_log_names_the_file(replayed):
    project, _ = replayed
    parts = make_config(4, *SIZE[1:], FEWER)
    project.configure(parts.pop("config"), **parts)
    project.run("--scheduler", "greedy", fails=True)
    assert "models/net-3: not recorded" in (project.directory / "logs/models/net-3.log").read_text()


def test_a_recording_that_is_not_there_stops_before_any_job(replayed, monkeypatch):
    project, _ = replayed
    monkeypatch.setenv("HWFIT_RECORDED", "/nowhere/results")
    said = project.run("-n", fails=True)
    assert "HWFIT_RECORDED is /nowhere/results: no directory" in said
    assert "Traceback" not in said


def test_every_step_of_a_sweep_that_the_benchmark_times_comes_to_its_end(tmp_path):
    found = scale.measure_sweep(tmp_path / "a sweep", (2, 1, 1, 2), skip=("track",))
    assert set(found) == {*scale.STEPS, "added"} - {"track"}
    assert all(step["seconds"] > 0 and step["peak_mb"] > 10 for step in found.values())
    # What was made before measuring is left as it is.
    assert found["added"]["jobs"] < found["dry_run"]["jobs"]
