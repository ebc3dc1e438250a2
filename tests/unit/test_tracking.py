"""MLflow holds every combination once, whatever is logged again, moved or down."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from hwfit.tracking import TrackingError, project_id
from tracked import Server, Sweep, free_port


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Sweep(tmp_path)


def test_each_combination_is_a_run_with_its_figures_below_one_of_the_sweep(sweep):
    counts = sweep.log()
    assert counts == {"created": 6, "replaced": 0, "unchanged": 0, "left": 0}
    parent = sweep.parent()
    assert parent.info.status == "FINISHED"
    assert parent.data.params["measurement.relative_ci"] == "0.02"
    children = sweep.children()
    assert len(children) == 6
    for line in sweep.table.to_dict("records"):
        run = children[f"cpu/{line['runtime']}/lenet-5/baseline/single_stream/bs{line['batch_size']}"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.metrics["latency_p50_ms"] == pytest.approx(line["latency_p50_ms"])
        assert run.data.metrics["accuracy"] == pytest.approx(line["accuracy"])
        assert run.data.params["runtime"] == line["runtime"]
        # What was not measured is not there, rather than 0.
        assert "power_w" not in run.data.metrics
        assert json.loads(sweep.files(run)[f"round0/bs{line['batch_size']}.json"])["p50"] > 0
    assert sweep.files(parent)["report.html"] == "<p>report</p>"


def test_a_second_log_adds_nothing(sweep):
    sweep.log()
    before = {run.info.run_id for run in sweep.runs()}
    assert sweep.log() == {"created": 0, "replaced": 0, "unchanged": 6, "left": 0}
    assert {run.info.run_id for run in sweep.runs()} == before


def test_a_changed_record_or_row_replaces_its_run_alone(sweep):
    sweep.log()
    before = sweep.children()
    line = sweep.table.to_dict("records")[0]
    sweep.record(line, {"p50": 1.0})
    sweep.table.loc[1, "verdict"] = "rejected"
    assert sweep.log() == {"created": 0, "replaced": 2, "unchanged": 4, "left": 0}
    after = sweep.children()
    assert len(after) == 6
    assert sum(before[name].info.run_id != after[name].info.run_id for name in before) == 2


def test_a_run_that_a_killed_job_left_unfinished_is_made_anew(sweep):
    sweep.log()
    name, run = next(iter(sweep.children().items()))
    sweep.client().update_run(run.info.run_id, status="RUNNING")
    assert sweep.log()["replaced"] == 1
    assert sweep.children()[name].info.run_id != run.info.run_id


def test_a_run_that_was_made_twice_as_its_answer_was_lost_goes(sweep):
    sweep.log()
    _, run = next(iter(sweep.children().items()))
    tags = {"mlflow.parentRunId": sweep.parent().info.run_id, "hwfit.kind": "combination"}
    sweep.client().create_run(run.info.experiment_id, tags=tags | {"hwfit.key": "of another sweep"})
    sweep.log()
    assert len(sweep.children()) == 6


def test_what_left_the_matrix_is_kept_and_says_so(sweep):
    sweep.log()
    assert sweep.log(table=sweep.table.iloc[:4])["left"] == 2
    tags = [run.data.tags["hwfit.in_matrix"] for run in sweep.children().values()]
    assert sorted(tags) == ["false"] * 2 + ["true"] * 4


def test_a_combination_that_returns_to_the_matrix_says_so_again(sweep):
    sweep.log()
    sweep.log(table=sweep.table.iloc[:4])
    sweep.log()
    assert {run.data.tags["hwfit.in_matrix"] for run in sweep.children().values()} == {"true"}


def test_a_sweep_of_another_name_has_runs_of_its_own(sweep):
    sweep.log()
    assert sweep.log(sweep="second")["created"] == 6
    assert len(sweep.runs()) == 14


def test_two_projects_on_one_server_leave_each_others_runs_alone(sweep):
    sweep.log()
    changed = sweep.table.assign(throughput_samples_per_s=1.0)
    assert sweep.log(project="another", table=changed)["created"] == 6
    assert sweep.log()["unchanged"] == 6


def test_a_projects_name_is_made_up_once_and_kept(tmp_path):
    first = project_id(tmp_path / "results" / "project")
    assert project_id(tmp_path / "results" / "project") == first
    assert project_id(tmp_path / "elsewhere") != first


def test_rows_that_failed_are_failed_runs_and_others_finished(sweep):
    sweep.table["status"] = ["ok", "oom", "crashed", "timeout", "unsupported", "skipped"]
    sweep.log()
    found = sorted(run.info.status for run in sweep.children().values())
    assert found == ["FAILED"] * 3 + ["FINISHED"] * 3


def test_runs_are_found_by_what_matters_and_their_notes_say_why(sweep):
    sweep.table.loc[0, ["verdict", "reason", "valid"]] = ["rejected", "p90 120 ms > 100 ms", False]
    sweep.log()
    line = sweep.table.to_dict("records")[0]
    found = sweep.runs(
        query=f"tags.model = 'lenet-5' and tags.device = 'cpu' and tags.runtime = '{line['runtime']}' and "
        "tags.optimization = 'baseline' and tags.status = 'ok' and tags.valid = 'false' and "
        "tags.chosen = 'false' and tags.verdict = 'rejected'"
    )
    assert [run.data.params["batch_size"] for run in found] == [str(line["batch_size"])]
    assert found[0].data.tags["mlflow.note.content"] == "**rejected**: p90 120 ms > 100 ms"
    (chosen,) = sweep.runs(query="tags.chosen = 'true'")
    best = sweep.table[sweep.table["verdict"] == "chosen"].iloc[0]
    assert chosen.data.params["runtime"] == best["runtime"]
    assert chosen.data.params["batch_size"] == str(best["batch_size"])


def test_no_run_names_the_directory_or_a_password(sweep):
    sweep.log()
    for run in sweep.runs():
        text = json.dumps(run.to_dictionary())
        assert "secret-word" not in text
        assert str(sweep.directory) not in text
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")


def test_a_moved_project_serves_its_runs_and_artifacts_and_logs_on(sweep, tmp_path_factory, monkeypatch):
    sweep.log()
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    shutil.move(sweep.directory, moved)
    monkeypatch.chdir(moved)
    with Server(moved) as server:
        name, run = next(iter(sweep.children(server.address).items()))
        batch = name.rpartition("/")[2]
        fetched = sweep.client(server.address).download_artifacts(
            run.info.run_id, f"round0/{batch}.json", str(tmp_path_factory.mktemp("got"))
        )
        assert json.loads(Path(fetched).read_text())["p50"] > 0
        # The same sweep over HTTP finds what SQLite holds.
        assert Sweep(moved, sweep.table).log(uri=server.address)["unchanged"] == 6
    sweep.directory, sweep.uri = moved, f"sqlite:///{moved}/results/mlflow.db"
    assert sweep.log()["unchanged"] == 6


def test_a_store_that_does_not_answer_is_one_message_without_credentials(sweep):
    uri = f"http://someone:secret-word@127.0.0.1:{free_port()}"
    with pytest.raises(TrackingError) as raised:
        sweep.log(uri=uri)
    message = str(raised.value)
    assert "secret-word" not in message
    assert "127.0.0.1" in message
    assert "track" in message
    assert len(message.splitlines()) == 1


def test_a_table_as_csv_reads_it_gives_the_same_digests(sweep, tmp_path):
    """Empty cells come back as NaN: the digest must not depend on that."""
    path = tmp_path / "table.csv"
    sweep.table.to_csv(path, index=False)
    sweep.log(table=pd.read_csv(path, keep_default_na=False, na_values=[""]))
    again = pd.read_csv(path, keep_default_na=False, na_values=[""])
    assert sweep.log(table=again)["unchanged"] == 6
