"""Against a real MLflow server over HTTP, one that is killed while a sweep is logged included."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from hwfit.records import write_json
from hwfit.tracking import TrackingError
from tracked import Server, Sweep, free_port, make_card, small_table


def weights(sweep):
    make_card(sweep.directory / "results/models/lenet-5")
    return dict.fromkeys(sweep.cells, "results/models/lenet-5")


def logged_so_far(database):
    """How many combinations' runs the server has written."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
            query = "select count(*) from tags where key = 'hwfit.kind' and value = 'combination'"
            return store.execute(query).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def kill_after(server, database, runs):
    """Kill a server once it has that many runs."""

    def wait():
        end = time.monotonic() + 120
        while logged_so_far(database) < runs and time.monotonic() < end:
            time.sleep(0.02)
        server.stop(signal.SIGKILL)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The server serves what a first log left; the sweep of the tests is another.
    made = Sweep(tmp_path, small_table(optimizations=("baseline", "bf16"), batch_sizes=(1, 8)))
    made.log(sweep="seen before", table=made.table.iloc[:1])
    return made


def test_a_server_killed_in_the_middle_is_caught_up_with_and_nothing_is_there_twice(sweep, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token-word")
    port, database = free_port(), sweep.directory / "results" / "mlflow.db"
    fed = weights(sweep)
    server = Server(sweep.directory, port)
    killer = kill_after(server, database, runs=5)
    with pytest.raises(TrackingError) as raised:
        sweep.log(uri=server.address, weights=fed)
    killer.join()
    assert "token-word" not in str(raised.value)
    assert 5 <= logged_so_far(database) < 12 + 1
    with Server(sweep.directory, port) as server:
        counts = sweep.log(uri=server.address, weights=fed)
        assert counts["created"] + counts["replaced"] + counts["unchanged"] == 12
        assert counts["unchanged"] >= 2
        assert counts["created"] >= 2
        assert sweep.log(uri=server.address, weights=fed)["unchanged"] == 12
        parents = sweep.runs(server.address, "tags.`hwfit.sweep` = 'default'")
        assert len(parents) == 1
        query = f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'"
        runs = sweep.runs(server.address, query)
        keys = [run.data.tags["hwfit.key"] for run in runs]
        assert len(keys) == len(set(keys)) == 12
        assert {run.info.status for run in runs} == {"FINISHED"}
        client = sweep.client(server.address)
        for run in runs:
            assert [file.path for file in client.list_artifacts(run.info.run_id, "round0")]
            assert run.data.metrics["latency_p50_ms"] > 0
            assert len(client.get_run(run.info.run_id).inputs.model_inputs) == 1
        experiment = sweep.experiment(server.address).experiment_id
        assert [model.name for model in client.search_logged_models([experiment])] == ["lenet-5"]
        assert "token-word" not in str([run.to_dictionary() for run in runs])


def test_make_ui_names_the_sweeps_page_and_needs_no_display(sweep, tmp_path):
    write_json("results/tracking.json", {"page": "#/experiments/1/runs?viewStateShareKey=hwfit-x"})
    said = tmp_path / "said"
    with said.open("w") as stream, Server(sweep.directory, said=stream) as server:
        end = time.monotonic() + 30
        while "MLflow UI" not in said.read_text() and time.monotonic() < end:
            time.sleep(0.1)
    line = f"MLflow UI: {server.address}/#/experiments/1/runs?viewStateShareKey=hwfit-x\n"
    assert line in said.read_text()


def ui(directory, **environment):
    """What `python -m hwfit ui` says where it need not serve."""
    known = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [sys.executable, "-m", "hwfit", "ui"],
        cwd=directory,
        env=known | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_page_of_a_server_elsewhere_is_named_without_its_password(tmp_path):
    done = ui(tmp_path, MLFLOW_TRACKING_URI="https://someone:secret-word@mlflow.example:8080/base/")
    assert done.returncode == 0
    assert done.stdout == "MLflow UI: https://mlflow.example:8080/base/\n"


def test_without_a_log_it_says_what_to_do(tmp_path):
    done = ui(tmp_path)
    assert done.returncode == 1
    assert "make run" in done.stderr
