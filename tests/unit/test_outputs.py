"""What two sets of outputs have in common, and what is no classifier's output."""

import numpy as np
import pytest

from hwfit.worker import outputs
from hwfit.worker.errors import Incorrect

SCORES = np.eye(4, dtype=np.float32)


def test_accuracy_and_top_1_agreement():
    assert outputs.accuracy(SCORES, np.array([0, 1, 2, 0])) == 0.75
    assert outputs.fidelity("classification", SCORES, SCORES[[0, 1, 2, 2]]) == 0.75


def test_features_agree_by_cosine_and_single_numbers_by_their_size():
    assert outputs.fidelity("features", 2 * SCORES, SCORES) == pytest.approx(1)
    numbers = np.array([[1.0], [2.0], [2.0]])
    assert outputs.fidelity("features", numbers, numbers) == 1
    # A cosine of single numbers would say 1.
    assert outputs.fidelity("features", 1.5 * numbers, numbers) == pytest.approx(0.5)
    assert outputs.fidelity("features", 100 * numbers, numbers) == 0


@pytest.mark.parametrize(
    ("shape", "labels", "said"),
    [
        ((5,), None, "scores of two or more classes"),
        ((5, 1), None, "scores of two or more classes"),
        ((5, 3), np.zeros((5, 1), int), r"labels have shape \(5, 1\), expected \(5,\)"),
        ((5, 3), np.zeros(5), "labels are float64"),
        ((5, 3), np.array(["cat"] * 5), "labels are <U3"),
        ((5, 3), np.array([0, 1, 2, 3, 0]), "labels go from 0 to 3, the model has 3 classes"),
        ((5, 3), np.array([0, 1, -1, 2, 0]), "labels go from -1"),
    ],
)
def test_what_is_no_classifier_or_no_label_is_a_message(shape, labels, said):
    with pytest.raises(ValueError, match=said):
        outputs.require_classes(np.zeros(shape), labels, "validation.npz")


def test_what_is_one_passes():
    outputs.require_classes(np.zeros((5, 3)), np.array([0, 1, 2, 1, 0]), "validation.npz")
    outputs.require_classes(np.zeros((5, 7, 3)), np.zeros((5, 7), int), "validation.npz")


def test_a_timed_call_must_give_the_same_outputs():
    outputs.require_same(SCORES + 1e-4, SCORES)
    for other in (SCORES[::-1], np.zeros_like(SCORES), SCORES[:2], np.full_like(SCORES, np.nan)):
        with pytest.raises(Incorrect):
            outputs.require_same(other, SCORES)
