"""Real Snakemake runs of a small study, from the first job to MLflow, and again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from hwfit.records import COLUMNS, read_profile
from projects import ROOT, STUDY, run_snakemake
from wheels import write_wheel


def test_a_study_ends_in_a_table_a_recommendation_a_report_and_mlflow(swept):
    table = swept.table()
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 4
    assert (table["status"] == "ok").all()
    (model,) = swept.recommendation()["models"]
    assert model["model"] == "lenet-300-100"
    page = (swept.directory / "reports" / "hardware-selection.html").read_text()
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "lenet-300-100" in page
    client = MlflowClient(f"sqlite:///{swept.directory}/results/mlflow.db")
    experiment = client.get_experiment_by_name("hwfit")
    assert len(client.search_runs([experiment.experiment_id])) == 1 + 4


def test_figures_of_the_table_agree_with_the_samples_on_disk(swept):
    (confirmation,) = (swept.directory / "results" / "confirmations").glob("*.json")
    entries = json.loads(confirmation.read_text())["contenders"]
    confirmed = {(e["cell"]["optimization"], e["batch_size"]): e["rounds"][0] for e in entries}
    assert len(confirmed) >= 2
    for _, row in swept.table().iterrows():
        round = confirmed.get((row["optimization"], row["batch_size"]), 0)
        path = swept.profile(row["optimization"], row["batch_size"], round=round)
        with np.load(path.with_suffix(".npz")) as stored:
            durations = stored["durations_s"]
        assert row["samples"] == len(durations)
        assert row["latency_p50_ms"] == pytest.approx(np.median(durations) * 1e3, rel=1e-6)
        assert row["throughput_samples_per_s"] == pytest.approx(
            row["batch_size"] / durations.mean(), rel=1e-6
        )
        assert row["latency_p50_ci_low_ms"] <= row["latency_p50_ms"] <= row["latency_p50_ci_high_ms"]


def test_speed_never_appears_without_accuracy_and_fidelity(swept):
    table = swept.table()
    assert table["accuracy"].between(0.9, 1).all()
    assert (table.loc[table["optimization"] == "baseline", "fidelity"] == 1).all()
    pruned = table[table["optimization"] == "prune50"]
    assert (pruned["nonzero_parameters"] < pruned["parameters"] * 0.51).all()


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


def test_the_archive_beside_the_report_holds_every_record_with_its_samples(swept):
    results = swept.directory / "results"
    wanted = {path.relative_to(results).as_posix() for path in results.glob("profiles/**/bs*.*")}
    with zipfile.ZipFile(swept.directory / "reports" / "measurements.zip") as archive:
        held = set(archive.namelist())
        order = pd.read_csv(archive.open("order.csv"))
    assert wanted <= held
    assert any(name.startswith("attempts/cpu/torch/") for name in held)
    assert order["started_at"].is_monotonic_increasing
    assert set(order["role"]) == {"first look", "confirmation"}


def test_another_language_writes_the_page_anew_and_nothing_else_but_its_log(swept):
    report = swept.directory / "reports" / "hardware-selection.html"
    records = [p for p in (swept.directory / "results").rglob("*.json") if "mlartifacts" not in p.parts]
    before = {p: p.stat().st_mtime_ns for p in records}
    swept.configure({"report": {"language": "zh"}})
    said = swept.run()
    assert "硬件选型" in report.read_text()
    assert set(re.findall(r"^(?:local)?rule (\w+):", said, re.MULTILINE)) == {"write_report", "track", "all"}
    changed = {p.name for p, time in before.items() if p.stat().st_mtime_ns != time}
    assert changed <= {"tracking.json"}
    swept.configure({})
    swept.run()
    assert "Hardware selection" in report.read_text()


def test_measuring_jobs_overlap_with_no_other_job(swept):
    """The canary for `threads`, in Snakemake's own bookkeeping: on two cores jobs of one would overlap."""
    spans = {}
    for path in (swept.directory / ".snakemake" / "metadata").rglob("*"):
        if path.is_file():
            job = json.loads(path.read_text())
            # Each output of a job has a record, whose times differ by the microseconds of writing it.
            spans[tuple(job["log"])] = (job["rule"], job["starttime"], job["endtime"])
    assert {"probe_cpu", "build_torch_cpu", "prepare_model", "track"} <= {
        rule for rule, _, _ in spans.values()
    }
    measuring = ("profile_", "confirm_", "inventory_")
    alone = [key for key, (rule, _, _) in spans.items() if rule.startswith(measuring)]
    assert len(alone) == 4
    for key in alone:
        _, start, end = spans[key]
        for other, (rule, other_start, other_end) in spans.items():
            if other != key:
                assert end <= other_start + 0.05 or other_end <= start + 0.05, (key, rule)


def test_the_launch_code_runs_as_it_stands(swept):
    (model,) = swept.recommendation()["models"]
    launch = model["launch"]
    done = subprocess.run(
        [launch["python"], "-c", launch["code"]],
        cwd=swept.directory,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == f"({model['chosen']['batch_size']},"


def test_snakemakes_own_report_holds_ours(swept):
    swept.run("--report", "report.zip")
    with zipfile.ZipFile(swept.directory / "report.zip") as archive:
        names = archive.namelist()
        pages = [name for name in names if name.endswith("hardware-selection.html")]
        assert pages
        assert b"lenet-300-100" in archive.read(pages[0])
        whole = b"".join(archive.read(name) for name in names if name.endswith((".js", "report.html")))
    captions = {path.name: path for path in (ROOT / "workflow" / "report").glob("*.rst")}
    # This study trains nothing.
    captions.pop("training.rst")
    for caption in captions.values():
        assert caption.read_text().split(".")[0].split(":")[0].encode() in whole, caption.name


LAUNCH = {"environment": "torch-cpu", "python": None, "code": "print(1)"}


def test_the_chosen_model_is_registered_by_one_target_and_once(swept, tmp_path):
    project = shutil.copytree(swept.directory, tmp_path / "copy")
    results, path = project / "results", project / "reports" / "recommendation.json"
    recommendation = json.loads(path.read_text())
    # Whatever was decided: on a busy host no row can be trusted, and nothing is chosen.
    row = json.loads(swept.table().iloc[0].to_json())
    recommendation["models"][0] |= {"chosen": row, "verdict": "chosen", "launch": LAUNCH}
    path.write_text(json.dumps(recommendation))
    assert "models:/lenet-300-100@chosen" in run_snakemake(project, "register")
    assert "Nothing to be done" in run_snakemake(project, "register")
    (results / "registered.json").unlink()
    assert "registered before" in run_snakemake(project, "register")
    client = MlflowClient(f"sqlite:///{results}/mlflow.db")
    (version,) = client.search_model_versions("name = 'lenet-300-100'")
    run = client.get_run(version.run_id)
    assert run.data.params["batch_size"] == str(row["batch_size"])
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    files = results / "mlartifacts" / version.source.removeprefix("mlflow-artifacts:/")
    assert {"card.json", "launch.py", "weights.safetensors"} <= {file.name for file in files.iterdir()}

    recommendation["models"][0]["chosen"] = None
    path.write_text(json.dumps(recommendation))
    assert "lenet-300-100: nothing was chosen" in run_snakemake(project, "register")


def test_bad_config_stops_before_any_job_and_touches_nothing(swept):
    before = {p: p.stat().st_mtime_ns for p in swept.directory.rglob("*") if p.is_file()}
    good = (swept.directory / "config" / "config.yaml").read_text()
    swept.configure({"matrix": dict(STUDY["matrix"], batch_sizes=[0])})
    said = swept.run(fails=True)
    swept.directory.joinpath("config", "config.yaml").write_text(good)
    assert "batch_sizes[0]" in said
    assert "Traceback" not in said
    after = {p: p.stat().st_mtime_ns for p in before}
    changed = {p for p in before if after[p] != before[p]}
    assert changed <= {swept.directory / "config" / "config.yaml"}


def test_the_default_study_is_planned_from_the_root(tmp_path):
    said = run_snakemake(ROOT, "-n", "--quiet", "rules", "--nolock", "--forceall")
    assert "profile_cpu_torch" in said


def test_retry_measures_again_what_may_go_away_and_nothing_else(swept):
    gone, kept = swept.profile("prune50", 8), swept.profile("prune50", 1)
    before = kept.read_bytes()
    record = json.loads(gone.read_text())
    gone.write_text(json.dumps(record | {"status": "timeout", "reason": "late", "metrics": {}}))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    subprocess.run([sys.executable, "-m", "hwfit", "retry"], cwd=swept.directory, env=environment, check=True)
    swept.run()
    again = read_profile(gone)
    assert again.status == "ok"
    assert again.started_at > record["started_at"]
    assert kept.read_bytes() == before
    assert len(swept.table()) == 4


def test_adding_a_batch_size_measures_only_the_new_one(swept):
    old = swept.profile("baseline", 8)
    before = [path.read_bytes() for path in (old, old.with_suffix(".npz"))]
    swept.configure({"matrix": dict(STUDY["matrix"], batch_sizes=[1, 8, 16])})
    swept.run()
    assert [path.read_bytes() for path in (old, old.with_suffix(".npz"))] == before
    assert read_profile(swept.profile("baseline", 16)).status == "ok"
    assert len(swept.table()) == 6


def test_excluding_a_combination_makes_a_row_of_it(swept):
    matrix = dict(STUDY["matrix"], exclude=[{"optimization": "prune50", "batch_size": 8}])
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
    assert swept.recommendation()["models"][0]["verdict"] == "none"
    assert (swept.table()["verdict"] == "rejected").all()


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


def test_a_users_model_that_is_edited_is_measured_again(project):
    path = project.directory / "results/profiles/cpu/torch/mine/baseline/single_stream/round0/bs8.json"
    configure_own_model(project, "pass")
    before = project.measure(path)
    configure_own_model(project, "time.sleep(0.01)")
    after = project.measure(path)
    assert after["fingerprints"]["subject"] != before["fingerprints"]["subject"]
    assert after["metrics"]["latency_p50_ms"] > 10 > before["metrics"]["latency_p50_ms"]


def write_mlp(path, seed):
    """Weights for the zoo's mlp as a safetensors file: the length of a head of JSON, the head, the values."""
    arrays = {f"fc{i}.{part}": shape for i in (1, 2) for part, shape in MLP.items()}
    head, end = {}, 0
    for name, shape in arrays.items():
        start, end = end, end + 4 * int(np.prod(shape))
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    content = json.dumps(head).encode()
    values = np.random.default_rng(seed).standard_normal(end // 4, np.float32)
    path.write_bytes(len(content).to_bytes(8, "little") + content + values.tobytes())


MLP = {"weight": [1000, 1000], "bias": [1000]}


def test_weights_of_the_users_own_are_measured_and_again_when_they_change(project):
    weights = project.directory / "mine.safetensors"
    write_mlp(weights, seed=1)
    project.configure(
        {
            "matrix": {"models": ["mine"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1]},
            "measurement": {"max_seconds": 1.0, "relative_ci": 0.2, "confirm_rounds": 0},
        },
        models={
            "mine": {
                "task": "features",
                "data": "photograph-patches",
                "weights": weights.name,
                "sources": {"torch": {"zoo": "mlp"}},
            }
        },
    )
    project.run()
    path = project.directory / "results/profiles/cpu/torch/mine/baseline/single_stream/round0/bs1.json"
    first = json.loads(path.read_text())
    assert first["status"] == "ok"
    assert project.table()["activation_mb_per_sample"].tolist() == [2 * 1000 * 4 / 1e6]
    write_mlp(weights, seed=2)
    again = project.measure(path)
    assert again["status"] == "ok"
    assert again["fingerprints"]["subject"] != first["fingerprints"]["subject"]
    weights.write_bytes(weights.read_bytes()[:-4])
    project.run()
    (row,) = project.table().to_dict("records")
    assert row["status"] == "unsupported"
    assert row["reason"].startswith("mine.safetensors is cut short")


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


def test_a_pin_that_changes_rebuilds_its_environment_and_measures_again(project, python_of):
    """In an environment of the user's own, whose one package lets it see the torch that is built already."""
    site = next((Path(python_of("torch-cpu")).parents[1] / "lib").glob("python*/site-packages"))
    requirements = project.directory / "envs" / "mine.txt"
    requirements.parent.mkdir()

    def profile_with(version, comment=""):
        requirements.write_text(comment + write_wheel(project.directory, version, {"torch.pth": f"{site}\n"}))
        # No more than a profile: the inventory of each environment would take a minute.
        return project.measure(project.profile("baseline", 1))

    project.configure(
        {"matrix": dict(STUDY["matrix"], optimizations=["baseline"], batch_sizes=[1])},
        devices={"cpu": {"accelerator": "cpu", "runtimes": {"torch": "mine"}}},
    )
    first = profile_with("1.0")
    assert first["context"]["environment"]["packages"]["tiny"] == "1.0"
    assert profile_with("1.0", comment="# a comment\n") == first
    second = profile_with("1.1")
    assert second["context"]["environment"]["packages"]["tiny"] == "1.1"
    assert second["fingerprints"]["context"] != first["fingerprints"]["context"]
    assert second["fingerprints"]["subject"] == first["fingerprints"]["subject"]
