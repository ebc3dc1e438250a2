"""Real Snakemake runs of a small study, from the first job to MLflow, and again."""

import json
import os
import signal
import time

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from hwfit.records import COLUMNS, read_profile


def test_a_study_ends_in_a_table_a_recommendation_a_report_and_mlflow(swept):
    table = swept.table()
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 4
    assert (table["status"] == "ok").all()
    recommendation = json.loads((swept.directory / "reports" / "recommendation.json").read_text())
    (model,) = recommendation["models"]
    assert model["model"] == "lenet-300-100"
    page = (swept.directory / "reports" / "hardware-selection.html").read_text()
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "lenet-300-100" in page
    client = MlflowClient(f"sqlite:///{swept.directory}/results/mlflow.db")
    experiment = client.get_experiment_by_name("hwfit")
    assert len(client.search_runs([experiment.experiment_id])) == 1 + 4


def test_figures_of_the_table_agree_with_the_samples_on_disk(swept):
    for _, row in swept.table().iterrows():
        rounds = sorted(swept.profile(row["optimization"], row["batch_size"]).parents[1].glob("round*"))
        wanted = rounds[1:] if row["rounds"] == 1 and len(rounds) > 1 else rounds[:1]
        path = wanted[-1] / f"bs{row['batch_size']}.npz"
        if not path.exists():
            path = rounds[0] / f"bs{row['batch_size']}.npz"
        with np.load(path) as stored:
            durations = stored["durations_s"]
        assert row["latency_p50_ms"] == pytest.approx(np.median(durations) * 1e3, rel=1e-6)
        assert row["throughput_samples_per_s"] == pytest.approx(
            row["batch_size"] / durations.mean(), rel=1e-6
        )
        assert row["latency_p50_ci_low_ms"] <= row["latency_p50_ms"] <= row["latency_p50_ci_high_ms"]


def test_speed_never_appears_without_accuracy_and_fidelity(swept):
    table = swept.table()
    assert table["accuracy"].between(0.9, 1).all()
    assert (table.loc[table["optimization"] == "baseline", "fidelity"] == 1).all()
    assert (
        table.loc[table["optimization"] == "prune50", "nonzero_parameters"] < table["parameters"] * 0.51
    ).all()


def test_what_was_not_measured_is_empty_never_zero(swept):
    table = swept.table()
    for column in ("energy_j_per_sample", "power_w", "cost_usd_per_million"):
        assert table[column].isna().all()
    assert (
        not (table.select_dtypes("number").drop(columns=["accuracy_drop", "relative_error"]) == 0).any().any()
    )


def test_a_second_run_changes_nothing(swept):
    before = {p: p.stat().st_mtime_ns for p in (swept.directory / "results").rglob("*") if p.is_file()}
    assert "Nothing to be done" in swept.run()
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_measuring_jobs_overlap_with_no_other_job(swept):
    """The canary for `threads`: the mutex that keeps a measurement alone is Snakemake's own bookkeeping."""
    spans = {}
    for path in (swept.directory / ".snakemake" / "metadata").rglob("*"):
        if path.is_file():
            job = json.loads(path.read_text())
            spans[job["rule"], job["starttime"], job["endtime"]] = job["rule"]
    measuring = [key for key in spans if key[0].startswith(("profile_", "confirm_", "inventory_"))]
    assert len(measuring) >= 4
    # Snakemake notices the end of a job some time after it, and notes that time.
    for rule, start, end in measuring:
        for other, other_start, other_end in spans:
            if (rule, start, end) != (other, other_start, other_end):
                assert end <= other_start + 0.05 or other_end <= start + 0.05, (rule, other)


def test_adding_a_batch_size_measures_only_the_new_one(swept):
    old = swept.profile("baseline", 8)
    before = old.stat().st_mtime_ns
    samples = old.with_suffix(".npz").read_bytes()
    swept.configure({"matrix": dict(swept_matrix(), batch_sizes=[1, 8, 16])})
    swept.run()
    assert old.stat().st_mtime_ns == before
    assert old.with_suffix(".npz").read_bytes() == samples
    assert read_profile(swept.profile("baseline", 16)).status == "ok"
    assert len(swept.table()) == 6


def test_excluding_a_combination_makes_a_row_of_it(swept):
    matrix = dict(swept_matrix(), exclude=[{"optimization": "prune50", "batch_size": 8}])
    swept.configure({"matrix": matrix})
    swept.run()
    table = swept.table().set_index(["optimization", "batch_size"])
    assert table.loc[("prune50", 8), "status"] == "skipped"
    assert table.loc[("prune50", 8), "reason"] == "excluded"
    assert pd.isna(table.loc[("prune50", 8), "latency_p50_ms"])


def test_changed_limits_decide_again_without_measuring_again(swept):
    swept.configure(
        {
            "measurement": {"max_seconds": 1.0, "relative_ci": 0.1, "confirm_rounds": 0},
            "decision": {"constraints": {"max_model_size_mb": 0.001}},
        }
    )
    profile = swept.profile("baseline", 1)
    before = profile.stat().st_mtime_ns
    swept.run()
    assert profile.stat().st_mtime_ns == before
    recommendation = json.loads((swept.directory / "reports" / "recommendation.json").read_text())
    assert recommendation["models"][0]["verdict"] == "none"
    assert (swept.table()["verdict"] == "rejected").all()


def swept_matrix():
    from conftest import STUDY

    return STUDY["matrix"]


def test_absent_hardware_becomes_rows_and_installs_nothing(project):
    project.configure(
        {
            "matrix": {
                "models": ["lenet-300-100"],
                "devices": ["cpu", "gpu7"],
                "optimizations": ["baseline"],
            },
            "measurement": {"max_seconds": 1.0, "relative_ci": 0.2, "confirm_rounds": 0},
        },
        devices={
            "cpu": {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}},
            "gpu7": {"accelerator": "cuda", "index": 7, "runtimes": {"torch": "torch-cuda"}},
        },
    )
    project.run()
    table = project.table().set_index("device")
    assert table.loc["cpu", "status"] == "ok"
    assert table.loc["gpu7", "status"] == "unavailable"
    assert "NVIDIA" in table.loc["gpu7", "reason"]
    environment = json.loads((project.directory / "results" / "environments" / "torch-cuda.json").read_text())
    assert environment["status"] == "unavailable"
    assert environment["python"] is None


BROKEN = """
import os, time
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, x):
        {body}
        return self.layer(x)

def net():
    return Net()
"""


def configure_own_model(project, body):
    """A model of the user's own whose forward does something first."""
    (project.directory / "mine.py").write_text(BROKEN.format(body=body))
    np.savez(project.directory / "mine.npz", x=np.random.default_rng(0).random((32, 4), np.float32))
    project.configure(
        {
            "matrix": {
                "models": ["mine"],
                "devices": ["cpu"],
                "runtimes": ["torch"],
                "batch_sizes": [1, 8, 16],
            },
            "measurement": {
                "max_seconds": 1.0,
                "relative_ci": 0.2,
                "confirm_rounds": 0,
                "timeout_seconds": 20,
            },
        },
        models={
            "mine": {"task": "features", "data": "mine.npz", "sources": {"torch": {"callable": "mine:net"}}}
        },
    )


def test_a_users_model_that_kills_its_process_is_a_row_and_the_rest_is_measured(project):
    configure_own_model(project, "if len(x) == 8: os.abort()")
    project.run()
    table = project.table().set_index("batch_size")
    assert table.loc[8, "status"] == "crashed"
    assert "SIGABRT" in table.loc[8, "reason"]
    assert (table.loc[[1, 16], "status"] == "ok").all()


def test_a_users_model_that_cannot_be_made_gives_rows_and_a_report(project):
    configure_own_model(project, "raise ValueError('not today')")
    project.run()
    table = project.table()
    assert (table["status"] == "crashed").all()
    assert table["reason"].str.contains("not today").all()
    assert (project.directory / "reports" / "hardware-selection.html").exists()


def test_a_sweep_killed_while_it_measures_is_taken_up_by_a_plain_rerun(project):
    process = project.start()
    measured = project.profile("baseline", 1)
    end = time.monotonic() + 300
    while not list(measured.parents[2].rglob("bs1.json")) and not list(
        (project.directory / "results").rglob("attempts/**/*.jsonl")
    ):
        assert time.monotonic() < end and process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    project.run("--unlock")
    project.run()
    assert (project.table()["status"] == "ok").all()
