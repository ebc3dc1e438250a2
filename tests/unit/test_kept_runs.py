"""Runs are read from a project's directory or from MLflow, and compared by the command line."""

import json
import shutil

import pandas as pd
import pytest
from mlflow import MlflowClient

from compared import make_row, write_project
from hwfit.__main__ import main
from hwfit.kept_runs import RunError, read_run
from hwfit.records import COLUMNS, write_json
from hwfit.tracking import log_sweep

EXPERIMENT = "hwfit"
QUICK, SLOW = [10.0, 10.1, 9.9, 10.05], [15.0, 15.1, 14.9, 15.05]


def rows(paces, started_at="2026-11-01"):
    return [
        make_row("baseline", paces, started_at=started_at),
        make_row("baseline", paces, batch_size=8, started_at=started_at),
        make_row("int8", paces[:1], started_at=started_at),
        make_row("prune50", status="oom", reason="too large"),
        make_row("bf16", status="unsupported", reason="not in torch", is_recorded=False),
    ]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """A database without runs: to make its tables takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A measured project, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HWFIT_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_json("results/devices/cpu/inventory.json", {"runtimes": {"torch": {"reference_ms": [1.0, 1.1]}}})
    write_json("reports/recommendation.json", {"hwfit_version": "0.1.0"})
    return write_project(tmp_path, *rows(QUICK))


@pytest.fixture
def uri(project, empty_store):
    """Where the project logs."""
    shutil.copy(empty_store, project / "results/mlflow.db")
    return f"sqlite:///{project}/results/mlflow.db"


def log(directory, uri, sweep="default", **more):
    """Log a project's records as `track` does."""
    lines = []
    for row in rows(QUICK):
        line = dict.fromkeys(COLUMNS) | row.cell.__dict__ | {"batch_size": row.batch_size}
        lines.append(line | {"status": row.status, "reason": row.reason, "valid": row.valid})
    config = {"measurement": {"rounds": 1, "relative_ci": 0.02}, "tracking": {"uri": uri}}
    return log_sweep(
        **{
            "uri": uri,
            "experiment": EXPERIMENT,
            "sweep": sweep,
            "project": "mine",
            "plan": {"config": config},
            "table": pd.DataFrame(lines),
            "profiles": directory / "results/profiles",
            "artifacts": [directory / "reports/recommendation.json"],
            "inventories": {"cpu": {}},
        }
        | more
    )


def known(run):
    """What a run knows, as plain data."""
    return {row.key: (row.status, row.reason, [(p.round, p.pace_ms) for p in row.rounds]) for row in run.rows}


def test_a_directory_is_read_with_its_rounds(project):
    run = read_run(str(project), "", EXPERIMENT)
    assert [row.status for row in run.rows] == ["ok", "ok", "ok", "oom", "unsupported"]
    # The confirming rounds alone speak for a row that has some.
    assert [profile.round for profile in run.rows[0].rounds] == [1, 2, 3]
    assert run.hwfit_version == "0.1.0"
    assert run.settings == {"rounds": "1", "relative_ci": "0.02"}
    assert run.inventories["cpu"]["runtimes"]["torch"]["reference_ms"] == [1.0, 1.1]


def test_the_folder_of_results_will_do_for_its_project(project):
    assert known(read_run(str(project / "results"), "", EXPERIMENT)) == known(read_run(".", "", EXPERIMENT))


@pytest.mark.parametrize("name", ["default", None])
def test_what_was_logged_reads_as_what_is_on_disk(project, uri, name):
    log(project, uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    (parent,) = client.search_runs([experiment], "tags.`hwfit.kind` = 'sweep'")
    shutil.move("results/profiles", "elsewhere")
    run = read_run(f"mlflow:{name or parent.info.run_id}", uri, EXPERIMENT)
    shutil.move("elsewhere", "results/profiles")
    here = read_run(".", uri, EXPERIMENT)
    assert known(run) == known(here)
    assert (run.settings, run.hwfit_version) == (here.settings, here.hwfit_version)
    assert run.inventories["cpu"] == here.inventories["cpu"]
    assert run.remarks == ()


def test_a_combination_that_left_the_matrix_is_not_read_and_an_unfinished_log_is_said(project, uri):
    log(project, uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    children = client.search_runs([experiment], "tags.`hwfit.kind` = 'combination'")
    client.set_tag(children[0].info.run_id, "hwfit.in_matrix", "false")
    client.update_run(children[1].info.run_id, status="RUNNING")
    run = read_run("mlflow:default", uri, EXPERIMENT)
    assert len(run.rows) == 3
    assert "the log of 1 combinations is not finished" in run.remarks[0]


def test_a_sweep_that_is_not_there_is_a_message_with_those_that_are(project, uri):
    log(project, uri)
    log(project, uri, sweep="second")
    with pytest.raises(RunError, match=r"no sweep 'defualt'; there are: .*default \(\w+\).*"):
        read_run("mlflow:defualt", uri, EXPERIMENT)
    with pytest.raises(RunError, match="has no experiment 'other'"):
        read_run("mlflow:default", uri, "other")


def test_a_name_that_two_projects_use_asks_for_the_run(project, uri):
    log(project, uri)
    log(project, uri, project="another")
    with pytest.raises(RunError, match="2 projects have a sweep 'default'; name the run"):
        read_run("mlflow:default", uri, EXPERIMENT)


def test_a_store_that_is_not_there_is_not_made(project):
    with pytest.raises(RunError, match="Nothing was logged yet"):
        read_run("mlflow:default", "sqlite:///results/mlflow.db", EXPERIMENT)
    assert not (project / "results/mlflow.db").exists()


def test_a_server_that_does_not_answer_is_one_line_without_a_password(project):
    with pytest.raises(RunError) as raised:
        read_run("mlflow:default", "http://someone:secret-word@127.0.0.1:9", EXPERIMENT)
    assert "secret-word" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("", "nothing to compare with"),
        ("nowhere", "nowhere: not a directory"),
        ("empty", "has no results/plan.json"),
        ("table", "a table without its rounds"),
        ("table/reports/combinations.csv", "a table without its rounds"),
        ("broken", "not a plan that this hwfit can read"),
    ],
)
def test_what_is_no_run_is_a_message_that_says_what_to_name_and_status_2(project, capsys, place, said):
    (project / "empty").mkdir()
    (project / "table/reports").mkdir(parents=True)
    (project / "table/reports/combinations.csv").write_text("model,device\n")
    write_json("broken/results/plan.json", {"study": 1})
    assert main(["compare", "--against", place]) == 2
    assert said in capsys.readouterr().err
    assert not (project / "reports/comparison.json").exists()


def test_a_project_in_which_nothing_was_measured_says_so(project, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path_factory.mktemp("fresh"))
    assert main(["compare", "--against", str(project)]) == 2
    assert "snakemake --cores all" in capsys.readouterr().err


def test_something_worse_is_status_1_and_the_files_say_what(project, tmp_path_factory, capsys):
    before = write_project(tmp_path_factory.mktemp("before"), *rows([p / 2 for p in QUICK], "2026-10-01"))
    assert main(["compare", "--against", str(before)]) == 1
    assert "Worse:" in capsys.readouterr().out
    found = json.loads((project / "reports/comparison.json").read_text())
    assert found["counts"]["worse"] == 3
    table = pd.read_csv(project / "reports/comparison.csv")
    assert table["verdict"].tolist()[:3] == ["worse"] * 3
    assert table["pace_ratio"].tolist()[:3] == pytest.approx([2] * 3)


def test_nothing_worse_is_status_0(project, tmp_path_factory):
    before = write_project(tmp_path_factory.mktemp("before"), *rows([p * 2 for p in QUICK], "2026-10-01"))
    assert main(["compare", "--against", str(before), "--output", "a.json", "--csv", "a.csv"]) == 0
    assert json.loads((project / "a.json").read_text())["counts"]["better"] == 3


def test_two_runs_in_mlflow_are_compared_from_a_directory_without_results(project, uri, monkeypatch):
    log(project, uri)
    write_project(project, *rows(SLOW, "2026-12-01"))
    log(project, uri, sweep="after")
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    monkeypatch.setenv("HWFIT_TRACKING_URI", uri)
    assert main(["compare", "--here", "mlflow:after", "--against", "mlflow:default"]) == 1
    found = json.loads((project / "elsewhere/reports/comparison.json").read_text())
    assert (found["here"], found["against"]) == ("mlflow:after", "mlflow:default")


@pytest.mark.parametrize(
    "options",
    [["--difference=0"], ["--difference=5%"], ["--difference=nan"], ["--quality-tolerance=-1"]],
)
def test_a_bad_number_is_refused_with_what_is_allowed(project, capsys, options):
    with pytest.raises(SystemExit) as raised:
        main(["compare", "--against", ".", *options])
    assert raised.value.code == 2
    assert "allowed: a number" in capsys.readouterr().err
