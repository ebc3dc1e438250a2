"""A training matrix that contradicts itself is told before any job starts: place, value, remedy."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from hwfit.training.checks import check_training
from studies import make_study
from trainings import MATRIX


def findings(training: Any, **study: Any) -> list[tuple[Any, str]]:
    made = make_study(training=training, **study)
    return list(check_training(made.config, made.devices, made.models))


def changed(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(MATRIX) | changes


def test_a_sound_matrix_has_no_findings():
    assert findings(changed(search="halving", max_epochs=27)) == []


@pytest.mark.parametrize(
    ("training", "place", "message"),
    [
        (changed(models=["encoder"]), ("training", "models", 0), "whose task is embedding"),
        (
            changed(hyperparameters={"sgd": {"beta1": 0.9}}),
            ("training", "hyperparameters", "sgd", "beta1"),
            "is not one of sgd's; allowed: weight_decay",
        ),
        (
            changed(hyperparameters={"lamb": {"beta1": 0.9}}),
            ("training", "hyperparameters", "lamb"),
            "not in `optimizers`: sgd, adam",
        ),
        (changed(hyperparameters={"sgd": {}}), ("training", "hyperparameters", "sgd"), "is empty"),
        (
            changed(search="halving", max_epochs=2),
            ("training", "halving"),
            "3 rungs that end after 1, 1, 2 epochs",
        ),
        (changed(accumulation=[3]), ("training", "accumulation", 0), "does not divide the batch size 16"),
        (changed(runtimes=["mindspore"]), ("training", "runtimes", 0), "does not list; it lists: torch"),
        (changed(exclude=[{"seed": 7}]), ("training", "exclude", 0), "matches no run of training"),
        (changed(exclude=[{}]), ("training", "exclude", 0), "is empty"),
        (changed(exclude=[{"model": "net"}]), ("training",), "excludes every run"),
    ],
)
def test_a_contradiction_is_told_with_its_place(training, place, message):
    (found,) = findings(training)
    assert found[0] == place
    assert message in found[1]


def test_two_matrices_of_one_model_aim_at_the_same():
    (found,) = findings([changed(), changed(optimizers=["rmsprop"], target_accuracy=0.8)])
    assert found[0] == ("training", 1, "target_accuracy")
    assert "differs from training[0].target_accuracy, and both train net" in found[1]


def test_one_optimizer_means_the_same_in_two_matrices():
    other = changed(learning_rates=[0.5], hyperparameters={"adam": {"beta1": 0.5}})
    (found,) = findings([changed(), other])
    assert "other values for net than training[0]" in found[1]


def test_a_classifier_on_photographs_without_labels_has_nothing_to_train_on():
    source = {"torch": {"zoo": "efficientnet-lite0"}}
    eyes = {"eyes": {"task": "classification", "data": "photographs", "sources": source}}
    (found,) = findings(changed(models=["eyes"]), models=eyes)
    assert "whose data, photographs, hold nothing to train on" in found[1]


def test_a_model_of_the_users_own_is_none_that_hwfit_can_train():
    own = {"mine": {"task": "classification", "data": "x.npz", "sources": {"torch": {"callable": "a:b"}}}}
    (found,) = findings(changed(models=["mine"]), models=own)
    assert "is no zoo model" in found[1]


def test_cost_counts_where_a_price_is_known():
    (found,) = findings(changed(), decision={"training": {"objective": "cost"}})
    assert found[0] == ("decision", "training", "objective")


def test_inferences_are_counted_of_models_that_are_run():
    (found,) = findings(changed(), matrix=[], decision={"training": {"plus_inferences": 1000}})
    assert "no model is in both" in found[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizers": ["sgdd"]},
        {"learning_rates": [0.0]},
        {"learning_rates": [float("nan")]},
        {"target_accuracy": 1.0},
        {"batch_sizes": []},
        {"seeds": [0, 0]},
        {"momentum": 0.9},
    ],
)
def test_a_value_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        make_study(training=changed(**wrong))
