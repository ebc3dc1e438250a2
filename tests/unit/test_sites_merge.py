"""Rows of several sites in one table: compared where they speak of the same, else skipped with the reason."""

import json

import pytest

from hwfit.collect import read_inventories, read_rows
from hwfit.recommendation import nominate, recommend
from hwfit.records import Cell, write_json
from hwfit.sites.merge import Party, merged
from hwfit.worker.job import Job
from sites import export_of, measure, merge_into

MATRIX = {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1]}
PRUNED = MATRIX | {"optimizations": ["baseline", "prune50"]}


@pytest.fixture
def here(tmp_path):
    """A directory in which a study was run that decides."""
    directory = tmp_path / "here"
    measure(directory, site="here", matrix=MATRIX)
    return directory


def decided(plan, directory):
    return recommend(read_rows(plan, directory), plan, read_inventories(plan, directory))


def imported_rows(plan):
    return [entry for entry in plan["combinations"] if entry["device"] == "cpu@gpu-box"]


def skipped(plan):
    """The reasons of the rows that another site has measured and that are not compared."""
    return [entry["reason"] for entry in imported_rows(plan) if entry["status"] == "skipped"]


def test_rows_of_both_sites_are_in_one_table_and_one_decision(here, tmp_path):
    plan = merge_into(here, export_of(tmp_path / "there", matrix=MATRIX, pace_ms=1.0))
    table, recommendation = decided(plan, here)
    assert table[["device", "site", "device_name", "status"]].to_numpy().tolist() == [
        ["cpu", "here", "chip of here", "ok"],
        ["cpu@gpu-box", "gpu-box", "chip of gpu-box", "ok"],
    ]
    (model,) = recommendation["models"]
    assert model["chosen"]["device"] == "cpu@gpu-box"
    # The code that starts it has paths of there.
    assert model["launch"] is None


def test_the_samples_of_another_site_prove_its_limits(here, tmp_path):
    plan = merge_into(here, export_of(tmp_path / "there", matrix=MATRIX, pace_ms=1.0))
    ours, theirs = read_rows(plan, here)
    assert (ours.durations_ms() == 2.0).all()
    assert len(theirs.durations_ms()) == 40
    assert (theirs.durations_ms() == 1.0).all()


def test_other_weights_are_not_compared_and_both_checksums_are_named(here, tmp_path):
    plan = merge_into(here, export_of(tmp_path / "there", matrix=MATRIX, weights="b" * 64))
    (reason,) = skipped(plan)
    assert "weights bbbbbbbbbbbb at gpu-box and aaaaaaaaaaaa here" in reason
    assert "artifacts=true" in reason
    assert plan["sites"][0]["not_comparable"] == 1
    table, _ = decided(plan, here)
    assert table["status"].tolist() == ["ok", "skipped"]


def test_weights_that_were_pruned_otherwise_are_not_compared(tmp_path):
    measure(tmp_path / "here", site="here", matrix=PRUNED)
    there = export_of(tmp_path / "there", matrix=PRUNED, artifact_weights="c" * 64)
    (reason,) = skipped(merge_into(tmp_path / "here", there))
    assert reason.startswith("prune50 made weights cccccccccccc of net at gpu-box and aaaaaaaaaaaa here")


def test_an_optimization_of_the_same_name_with_other_passes_is_not_compared(here, tmp_path):
    there = export_of(tmp_path / "there", matrix=PRUNED)
    plan = json.loads((here / "results/plan.json").read_text())
    plan["combinations"].append(plan["combinations"][0] | {"optimization": "prune50"})
    plan["study"]["optimizations"]["prune50"]["passes"][0]["amount"] = 0.9
    write_json(here / "results/plan.json", plan)
    (reason,) = skipped(merge_into(here, there))
    assert "prune50 is prune (amount: 0.5" in reason
    assert "at gpu-box and prune (amount: 0.9" in reason


def test_a_model_of_the_same_name_for_another_task_is_not_compared(here, tmp_path):
    net = {"task": "features", "data": "digits", "sources": {"torch": {"zoo": "lenet-5"}}}
    plan = merge_into(here, export_of(tmp_path / "there", matrix=MATRIX, models={"net": net}))
    (reason,) = skipped(plan)
    assert reason == "net is for features at gpu-box and for classification here; name them apart"
    assert plan["study"]["models"]["net"]["task"] == "classification"


@pytest.mark.parametrize(
    ("measurement", "said"),
    [
        ({"max_seconds": 5.0}, "measurement.max_seconds is 5.0 at gpu-box and 10.0 here"),
        ({"relative_ci": 0.1}, "measurement.relative_ci is 0.1 at gpu-box and 0.02 here"),
    ],
)
def test_rows_that_were_measured_with_other_settings_are_not_compared(here, tmp_path, measurement, said):
    (reason,) = skipped(
        merge_into(here, export_of(tmp_path / "there", matrix=MATRIX, measurement=measurement))
    )
    assert said in reason
    assert "measure again" in reason


@pytest.mark.parametrize(
    "measurement", [{"timeout_seconds": 77.0}, {"confirm_rounds": 0}, {"energy_seconds": 1.0}]
)
def test_settings_that_change_no_figure_may_differ(here, tmp_path, measurement):
    plan = merge_into(here, export_of(tmp_path / "there", matrix=MATRIX, measurement=measurement))
    assert skipped(plan) == []


def test_a_record_of_another_protocol_is_not_compared_though_the_configs_agree(here, tmp_path):
    there = tmp_path / "there"
    measure(there, matrix=MATRIX)
    (path,) = (there / "results/profiles").glob("**/bs1.json")
    record = json.loads(path.read_text())
    record["fingerprints"]["protocol"] = "0123456789abcdef"
    write_json(path, record)
    from hwfit.sites.write import write_export

    write_export(json.loads((there / "results/plan.json").read_text()), there / "x.zip", directory=there)
    (reason,) = skipped(merge_into(here, there / "x.zip"))
    assert "its protocol is 0123456789abcdef at gpu-box" in reason


def test_the_protocol_that_is_expected_is_the_one_that_a_worker_writes(tmp_path, monkeypatch):
    """The control wing works out beforehand what the worker wing puts into each record."""
    monkeypatch.chdir(tmp_path)
    limits = {"constraints": {"latency_p99_ms": 20.0}}
    scenarios = {"scenarios": ["single_stream", "server"]}
    plan = measure(tmp_path, matrix=MATRIX, measurement=scenarios, decision=limits)
    write_json(tmp_path / "results/environments/torch-cpu.json", {"status": "ok"})
    party = Party("here", plan.to_dict()["study"], [], {})
    assert {cell.scenario for cell in plan.cells} == {"single_stream", "server"}
    for cell in plan.cells:
        written = Job.from_dict(plan.job(cell, 0)).fingerprints(1)["protocol"]
        assert party.protocol(cell.model, cell.scenario) == written


def test_what_failed_at_a_site_stays_what_it_was_there(here, tmp_path):
    matrix = MATRIX | {"optimizations": ["baseline", "offload"]}
    rows = imported_rows(merge_into(here, export_of(tmp_path / "there", matrix=matrix)))
    assert [row["status"] for row in rows] == ["", "unsupported"]
    assert rows[1]["reason"].startswith("offload works on")


def test_without_rows_of_its_own_a_site_compares_others_with_the_first_of_them(tmp_path):
    exports = [
        export_of(tmp_path / "a", matrix=MATRIX, site="a", weights="b" * 64),
        export_of(tmp_path / "b", matrix=MATRIX, site="b", weights="c" * 64),
    ]
    measure(tmp_path / "here", site="here", matrix=[])
    plan = merge_into(tmp_path / "here", *exports)
    statuses = {entry["device"]: entry["status"] for entry in plan["combinations"]}
    assert statuses == {"cpu@a": "", "cpu@b": "skipped"}
    assert "cccccccccccc at b and bbbbbbbbbbbb at a" in plan["combinations"][1]["reason"]


def test_a_model_that_is_measured_elsewhere_alone_comes_with_its_definition(here, tmp_path):
    mine = {"task": "features", "data": "digits", "sources": {"torch": {"zoo": "lenet-5"}}}
    matrix = MATRIX | {"models": ["mine"]}
    plan = merge_into(here, export_of(tmp_path / "there", matrix=matrix, models={"mine": mine}))
    assert skipped(plan) == []
    _, recommendation = decided(plan, here)
    assert [model["model"] for model in recommendation["models"]] == ["net", "mine"]


PRICED = {"cpu": {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}, "price_per_hour": 3.0}}


@pytest.mark.parametrize(
    ("cost_there", "cost_here", "price", "currency"),
    [
        ({}, {}, 3.0, None),
        ({"currency": "EUR"}, {}, None, "EUR"),
        ({"currency": "EUR"}, {"site_prices": {"cpu@gpu-box": 4.0}}, 4.0, None),
        ({}, {"site_prices": {"cpu@gpu-box": 4.0}}, 4.0, None),
    ],
    ids=["its own", "another currency", "another currency, set here", "set here"],
)
def test_prices_are_the_exports_unless_set_here_and_never_of_another_currency(
    tmp_path, cost_there, cost_here, price, currency
):
    directory = tmp_path / "here"
    measure(directory, site="here", matrix=MATRIX, cost=cost_here)
    plan = merge_into(
        directory, export_of(tmp_path / "there", matrix=MATRIX, devices=PRICED, cost=cost_there)
    )
    table, _ = decided(plan, directory)
    found = table.set_index("device").loc["cpu@gpu-box", "price_per_hour"]
    assert (None if found != found else found) == price
    assert plan["sites"][0]["unpriced_currency"] == currency


def test_a_composite_comes_with_its_members(here, tmp_path):
    half = {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}, "price_per_hour": 1.5}
    devices = {
        "left": half | {"cores": [0]},
        "right": half | {"cores": [1]},
        "both": {"members": ["left", {"device": "right", "runtime": "torch"}]},
    }
    matrix = {"models": ["net"], "devices": ["both"], "batch_sizes": [1]}
    plan = merge_into(here, export_of(tmp_path / "there", matrix=matrix, devices=devices))
    members = plan["study"]["devices"]["both@gpu-box"]["members"]
    assert [m if isinstance(m, str) else m["device"] for m in members] == ["left@gpu-box", "right@gpu-box"]
    table, _ = decided(plan, here)
    assert table.set_index("device").loc["both@gpu-box", "price_per_hour"] == 3.0


def test_rounds_that_confirm_a_row_at_its_site_confirm_it_here(here, tmp_path):
    plan = merge_into(here, export_of(tmp_path / "there", matrix=MATRIX, is_confirmed=True))
    ours, theirs = read_rows(plan, here)
    assert (ours.confirmed, theirs.confirmed) == (False, True)
    assert [profile.round for profile in theirs.rounds] == [1]


def test_first_looks_of_a_site_that_confirmed_nothing_are_no_worse_for_it(tmp_path):
    directory = tmp_path / "here"
    measure(directory, site="here", matrix=MATRIX, is_confirmed=True)
    plan = merge_into(directory, export_of(tmp_path / "there", matrix=MATRIX, pace_ms=0.5))
    _, recommendation = decided(plan, directory)
    (model,) = recommendation["models"]
    assert model["chosen"]["device"] == "cpu@gpu-box"
    assert model["summary"].endswith("Not confirmed in fresh rounds.")


def test_rows_of_another_site_take_no_place_among_those_that_are_confirmed_here(tmp_path):
    directory = tmp_path / "here"
    optimizations = ["baseline", "channels-last", "bf16", "int8", "prune50", "prune50-bf16"]
    matrix = MATRIX | {"optimizations": optimizations}
    measure(directory, site="here", matrix=matrix)
    alone = json.loads((directory / "results/plan.json").read_text())
    plan = merge_into(directory, export_of(tmp_path / "there", matrix=matrix, pace_ms=1.99))
    named = [nominate(read_rows(each, directory, first_looks_only=True), each, {}) for each in (alone, plan)]
    assert len(named[0]["cpu"]) == 5
    assert len(named[1]["cpu"]) == 5
    assert len(named[1]["cpu@gpu-box"]) == 6


def test_merging_nothing_changes_nothing_but_that_it_is_told(here):
    plan = json.loads((here / "results/plan.json").read_text())
    assert merged(plan, [], {}) == plan | {"sites": []}


def test_every_row_of_a_plan_that_is_read_again_keeps_its_site(here, tmp_path):
    """What reads results/plan.json back as a study takes the devices of other sites."""
    from hwfit.config import Study

    plan = merge_into(here, export_of(tmp_path / "there", matrix=MATRIX))
    study = Study.model_validate(json.loads(json.dumps(plan["study"])))
    assert list(study.devices)[-1] == "cpu@gpu-box"
    assert Cell(**{k: plan["combinations"][1][k] for k in Cell.__dataclass_fields__}).device == "cpu@gpu-box"
