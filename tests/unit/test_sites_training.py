"""Runs of training of another site: in one table with those of here, as far as they learn the same."""

import json

import pytest
from test_sites_exports import with_member

from hwfit.collect import read_inventories, read_rows
from hwfit.cost_sections import Cost
from hwfit.layout import inventory_file
from hwfit.recommendation import recommend
from hwfit.records import has_true_seal, read_json, write_json
from hwfit.sites.read import Export, ExportError
from hwfit.sites.write import write_export
from hwfit.training.collect import forget_training, read_training, typical_curves
from hwfit.training.plan import TRAINING
from hwfit.training.table import make_configurations, make_run_table
from sites import export_of, measure, merge_into
from trainings import MATRIX as TRAINING_MATRIX
from trainings import train

MATRIX = {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1]}
HALVING = TRAINING_MATRIX | {"search": "halving"}


def train_at(directory, site, training=None, **study):
    """Leave what a site has measured and trained; returns its plan as plain data."""
    plan = measure(directory, site=site, matrix=MATRIX, training=training or TRAINING_MATRIX, **study)
    train(directory, plan)
    for path in (directory / TRAINING).rglob("rung*.json"):
        record = read_json(path)
        record["fingerprints"] = {"data": "digits"}
        record["metrics"]["parameters"] = 5000.0
        write_json(path, record)
    return plan.to_dict()


def exported(directory, site="gpu-box", **study):
    """The export of a site that trains."""
    plan = train_at(directory, site, **study)
    write_export(plan, directory / "export.zip", directory=directory)
    return directory / "export.zip"


@pytest.fixture
def here(tmp_path):
    directory = tmp_path / "here"
    train_at(directory, "office")
    return directory


def theirs(rows):
    return [row for row in rows if row.run.device == "cpu@gpu-box"]


def test_each_site_gets_its_answer_from_one_table(here, tmp_path):
    plan = merge_into(here, exported(tmp_path / "there"))
    rows, inventories = read_training(plan, here), read_inventories(plan, here)
    table = make_run_table(rows, plan, inventories, {}, Cost())
    ours, others = (table[table["device"] == name] for name in ("cpu", "cpu@gpu-box"))
    assert set(others["device_name"]) == {"chip of gpu-box"}
    # Trained by the same formula: the same figures, but for where they are of.
    columns = [name for name in table if name not in ("device", "device_name")]
    assert ours[columns].reset_index(drop=True).equals(others[columns].reset_index(drop=True))
    assert (others["status"] == "ok").any()
    _, recommendation = recommend(read_rows(plan, here), plan, inventories, make_configurations(table))
    answers = {answer["device"]: answer["chosen"] for answer in recommendation["training"]}
    assert answers["cpu@gpu-box"]["optimizer"] == answers["cpu"]["optimizer"]
    curves = {curve.path: curve.points for curve in typical_curves(table, here)}
    assert len({path for path, points in curves.items() if path.startswith("cpu@gpu-box/") and points}) > 1


def test_what_halving_stopped_there_is_told_here(here, tmp_path):
    plan = merge_into(here, exported(tmp_path / "there", training=HALVING))
    stopped = [row for row in theirs(read_training(plan, here)) if row.stopped]
    assert stopped
    assert not [row for row in theirs(read_training(plan, here)) if row.status == "crashed"]
    assert not [row for row in read_training(plan, here) if row not in stopped and row.stopped]


def test_a_site_that_trains_alone_is_enough(tmp_path):
    measure(tmp_path / "here", site="here", matrix=MATRIX)
    plan = merge_into(tmp_path / "here", exported(tmp_path / "there"))
    assert {row.status for row in read_training(plan, tmp_path / "here")} == {"ok", "diverged"}


@pytest.mark.parametrize(
    ("study", "change", "said"),
    [
        ({"training": TRAINING_MATRIX | {"target_accuracy": 0.8}}, {}, "target_accuracy is 0.8 at gpu-box"),
        ({}, {"fingerprints": {"data": "mnist"}}, "data mnist at gpu-box and digits here"),
        ({}, {"metrics": {"parameters": 7000.0, "steps": 9}}, "7000 parameters at gpu-box and 5000 here"),
    ],
)
def test_what_is_to_learn_something_else_is_not_compared(here, tmp_path, study, change, said):
    there = tmp_path / "there"
    plan = train_at(there, "gpu-box", **study)
    for path in (there / TRAINING).rglob("rung*.json"):
        write_json(path, read_json(path) | change)
    write_export(plan, there / "export.zip", directory=there)
    rows = read_training(merge_into(here, there / "export.zip"), here)
    assert {row.status for row in theirs(rows)} == {"skipped"}
    assert all(said in row.reason for row in theirs(rows))
    assert "skipped" not in {row.status for row in rows if row not in theirs(rows)}


def test_retrying_forgets_no_run_of_another_site(here, tmp_path):
    merge_into(here, exported(tmp_path / "there"))
    for path in (here / TRAINING).rglob("rung*.json"):
        write_json(path, read_json(path) | {"status": "timeout", "reason": "late"})
    forget_training(here)
    assert {path.relative_to(here / TRAINING).parts[0] for path in (here / TRAINING).rglob("rung*.json")} == {
        "cpu@gpu-box"
    }


def test_what_was_merged_is_not_exported_again(here, tmp_path):
    plan = merge_into(here, exported(tmp_path / "there", training=HALVING))
    write_json(here / inventory_file("cpu@gpu-box"), {"device": "cpu@gpu-box"})
    write_export(plan, tmp_path / "again.zip", directory=here)
    again = Export.open(tmp_path / "again.zip")
    assert not [name for name in again.members if "@" in name]
    assert {run["device"] for run in again.runs} == {"cpu"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "../.."}, "what it does not define"),
        ({"optimizer": "a/../../b"}, "what it does not define"),
        ({"schedule": "../x"}, "what it does not define"),
        ({"learning_rate": "1/x"}, "does not hold together"),
        ({"batch_size": "many"}, "does not hold together"),
        ({"status": "ok"}, "status 'ok'"),
        ({"rung_epochs": []}, "rung_epochs"),
    ],
)
def test_a_run_that_is_not_told_as_a_plan_tells_it_is_refused(tmp_path, change, said):
    export = exported(tmp_path / "there")
    plan = json.loads(Export.open(export).read("plan.json"))
    plan["training"][0] |= change
    with_member(export, "plan.json", json.dumps(plan).encode())
    with pytest.raises(ExportError, match=said):
        _ = Export.open(export).plan


def test_a_verdict_that_was_damaged_there_is_left_out_and_said(here, tmp_path, capsys):
    there = tmp_path / "there"
    plan = train_at(there, "gpu-box", training=HALVING)
    (there / "results/halving/cpu/torch/net/rung0.json").write_text('{"group": ["cpu"]}')
    write_export(plan, there / "export.zip", directory=there)
    merged = merge_into(here, there / "export.zip")
    assert "damaged at gpu-box" in capsys.readouterr().err
    assert len(theirs(read_training(merged, here))) == len(plan["training"])


def test_a_run_that_failed_says_nothing_of_what_there_is_to_learn(here, tmp_path):
    for path in (here / TRAINING).rglob("rung*.json"):
        failed = {"status": "unavailable", "reason": "no data", "metrics": {}}
        write_json(path, read_json(path) | failed | {"fingerprints": {"data": "absence"}})
    rows = read_training(merge_into(here, exported(tmp_path / "there")), here)
    assert {row.status for row in theirs(rows)} == {"ok", "diverged"}


def test_a_site_that_trains_alone_does_not_say_how_inference_is_measured(tmp_path):
    trainer = tmp_path / "trainer"
    plan = train_at(trainer, "trainer")
    plan["combinations"] = []
    write_export(plan, trainer / "export.zip", directory=trainer)
    measured = export_of(tmp_path / "there", site="gpu-box", matrix=MATRIX, measurement={"max_seconds": 5})
    here = tmp_path / "here"
    plan = measure(here, site="office", matrix=MATRIX).to_dict() | {"combinations": []}
    write_json(here / "results/plan.json", plan)
    merged = merge_into(here, trainer / "export.zip", measured)
    assert {entry["status"] for entry in merged["combinations"]} == {""}


@pytest.mark.parametrize("content", ['{"group": []}', "[" * 100_000, '{"group": ["cpu"], "go_on": 1}', "[]"])
def test_a_verdict_that_is_none_is_left_out(here, tmp_path, capsys, content):
    there = tmp_path / "there"
    plan = train_at(there, "gpu-box", training=HALVING)
    write_export(plan, there / "export.zip", directory=there)
    with_member(there / "export.zip", "halving/cpu/torch/net/rung0.json", content.encode())
    merge_into(here, there / "export.zip")
    assert "damaged at gpu-box" in capsys.readouterr().err


def test_what_is_laid_down_is_sealed(here, tmp_path):
    merge_into(here, exported(tmp_path / "there", training=HALVING))
    paths = [path for path in (here / "results").rglob("*.json") if "cpu@gpu-box" in str(path)]
    records = [path for path in paths if path.name.startswith(("rung", "bs"))]
    assert records
    assert all(has_true_seal(path.read_bytes()) for path in records)
