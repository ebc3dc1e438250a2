"""A run says which data and which weights it was fed: made once, pointed to by every measured run."""

import json

import pytest

from hwfit.records import Cell
from tracked import Sweep, make_card, small_table


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Two batch sizes of a checkpoint and of what pruning made of it, in one runtime."""
    monkeypatch.chdir(tmp_path)
    made = Sweep(tmp_path, small_table(runtimes=("torch",), optimizations=("baseline", "prune50")))
    make_card(tmp_path / "results/models/lenet-5", provenance="trained by hwfit")
    make_card(tmp_path / "results/artifacts/lenet-5/prune-1", passes=[{"pass": "prune", "amount": 0.5}])
    return made


def weights(**changes):
    """Where the weights of the sweep's cells lie."""
    directories = {
        "baseline": "results/models/lenet-5",
        "prune50": "results/artifacts/lenet-5/prune-1",
    } | changes
    return {
        Cell("lenet-5", "cpu", "torch", name, "single_stream"): place for name, place in directories.items()
    }


def models(sweep):
    return sweep.client().search_logged_models([sweep.experiment().experiment_id])


def inputs(run):
    """The name of a run's data and the id of its model."""
    (data,), (model,) = run.inputs.dataset_inputs, run.inputs.model_inputs
    return data.dataset.name, model.model_id


def test_the_weights_are_a_logged_model_each_which_their_runs_point_to(sweep):
    sweep.log(weights=weights())
    named = {model.name: model for model in models(sweep)}
    assert set(named) == {"lenet-5", "lenet-5-prune-1"}
    pruned = named["lenet-5-prune-1"]
    assert pruned.params["parameters"] == "431080"
    assert pruned.status == "READY"
    assert pruned.source_run_id == sweep.parent().info.run_id
    card = sweep.directory / "results/mlartifacts/models" / pruned.model_id / "artifacts" / "card.json"
    assert json.loads(card.read_text())["passes"] == [{"pass": "prune", "amount": 0.5}]
    for run in sweep.children().values():
        pruning = run.data.tags["optimization"] == "prune50"
        _, model_id = inputs(sweep.client().get_run(run.info.run_id))
        assert model_id == named["lenet-5-prune-1" if pruning else "lenet-5"].model_id


def test_the_evaluation_data_is_a_data_set_with_its_schema_and_size(sweep):
    sweep.log(weights=weights())
    for run in (sweep.parent(), *sweep.children().values()):
        (found,) = sweep.client().get_run(run.info.run_id).inputs.dataset_inputs
        assert found.dataset.name == "digits"
        assert found.dataset.digest == "ab" * 16
        assert json.loads(found.dataset.source) == {"uri": "results/models/lenet-5/evaluation.npz"}
        schema = json.loads(found.dataset.schema)["mlflow_tensorspec"]
        assert json.loads(schema["features"])[0]["tensor-spec"]["shape"] == [-1, 1, 28, 28]
        assert json.loads(found.dataset.profile)["num_rows"] == 360
        assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "evaluation"}


def test_a_run_has_the_card_of_its_weights_among_its_artifacts(sweep):
    sweep.log(weights=weights())
    for run in sweep.children().values():
        card = json.loads(sweep.files(run)["weights/card.json"])
        assert ("passes" in card) == (run.data.tags["optimization"] == "prune50")


def test_a_second_log_makes_no_model_again_and_one_of_other_weights_does(sweep):
    sweep.log(weights=weights())
    assert sweep.log(weights=weights())["unchanged"] == 4
    assert len(models(sweep)) == 2
    make_card(sweep.directory / "results/artifacts/lenet-5/prune-1", weights_sha256="ef" * 32)
    assert sweep.log(weights=weights()) == {"created": 0, "replaced": 2, "unchanged": 2, "left": 0}
    assert len(models(sweep)) == 3


def test_a_model_that_a_killed_job_left_without_its_card_is_taken_up_again(sweep):
    from mlflow.entities import LoggedModelStatus

    sweep.log(weights=weights())
    (model,) = [model for model in models(sweep) if model.name == "lenet-5-prune-1"]
    sweep.client().finalize_logged_model(model.model_id, LoggedModelStatus.PENDING)
    for run in sweep.children().values():
        sweep.client().update_run(run.info.run_id, status="RUNNING")
    sweep.log(weights=weights())
    assert {model.status for model in models(sweep)} == {"READY"}
    assert len(models(sweep)) == 2


def test_names_are_those_of_the_directories_and_ones_that_mlflow_takes(sweep):
    make_card(sweep.directory / "results/onnx/lenet-5/checkpoint")
    make_card(sweep.directory / "results/onnx/lenet-5/prune-1.5:x")
    sweep.log(weights=weights(baseline="results/onnx/lenet-5/checkpoint"))
    sweep.log(weights=weights(prune50="results/onnx/lenet-5/prune-1.5:x"))
    assert {model.name for model in models(sweep)} == {
        "lenet-5",
        "lenet-5-onnx",
        "lenet-5-prune-1",
        "lenet-5-onnx-prune-1_5_x",
    }


def test_rows_that_were_not_measured_and_cards_that_are_not_there_say_nothing(sweep):
    line = sweep.table.to_dict("records")[0]
    sweep.record(line, {}).unlink()
    make_card(sweep.directory / "results/artifacts/lenet-5/prune-1", status="unsupported")
    sweep.log(weights=weights())
    fed = [
        (run.data.tags["optimization"], bool(sweep.client().get_run(run.info.run_id).inputs.model_inputs))
        for run in sweep.children().values()
    ]
    assert sorted(fed) == [("baseline", False), ("baseline", True), ("prune50", False), ("prune50", False)]


def test_data_of_the_users_own_keep_their_directory_to_themselves(sweep):
    make_card(sweep.directory / "results/models/lenet-5", data_provenance="/home/someone/data/mine.npz")
    sweep.log(weights=weights())
    (found,) = sweep.client().get_run(sweep.parent().info.run_id).inputs.dataset_inputs
    assert found.dataset.name == "mine.npz"
