"""What passes calibrate on: never what the model is judged by, where anything else is there."""

import numpy as np
import pytest

from hwfit.worker import user_data
from hwfit.worker.errors import Unavailable
from hwfit.worker.file_passes import Workpiece
from hwfit.worker.prepare import CALIBRATION_SAMPLES, calibration_inputs, spread

INPUTS = {"x": np.arange(40, dtype=np.float32).reshape(20, 2)}


def found(dataset, given=None):
    return calibration_inputs(INPUTS, given, dataset, None, {}, "net", "data.npz")


def test_training_data_are_taken_where_there_are_some():
    train = 100 + np.arange(1000, dtype=np.float32).reshape(500, 2)
    dataset = {
        "x_train": train,
        "y_train": np.zeros(500, int),
        "x_test": INPUTS["x"],
        "y_test": np.zeros(20, int),
    }
    arrays, told = found(dataset)
    assert told == {"samples": CALIBRATION_SAMPLES, "origin": "training data", "is_evaluated": False}
    assert arrays["x"].min() >= 100


def test_what_a_data_set_holds_out_comes_next():
    arrays, told = found({"x": INPUTS["x"], "calibration_x": -INPUTS["x"][:3]})
    assert told == {"samples": 3, "origin": "held out", "is_evaluated": False}
    assert np.array_equal(arrays["x"], -INPUTS["x"][:3])


def test_else_it_says_that_the_model_is_judged_by_them():
    arrays, told = found({"x": INPUTS["x"]})
    assert told == {"samples": 20, "origin": "evaluated inputs", "is_evaluated": True}
    assert np.array_equal(arrays["x"], INPUTS["x"])


def test_the_users_own_go_before_all(tmp_path):
    np.savez(tmp_path / "own.npz", x=7 * INPUTS["x"], more=np.zeros(3))
    arrays, told = found({"x": INPUTS["x"], "calibration_x": -INPUTS["x"]}, tmp_path / "own.npz")
    assert told["origin"] == str(tmp_path / "own.npz") and not told["is_evaluated"]
    assert list(arrays) == ["x"] and np.array_equal(arrays["x"], 7 * INPUTS["x"])


def test_held_out_data_of_another_shape_or_with_nan_are_left_alone():
    for other in (np.zeros((4, 3), np.float32), np.full((4, 2), np.nan, np.float32)):
        arrays, told = found({"x": INPUTS["x"], "calibration_x": other})
        assert told["is_evaluated"] and np.array_equal(arrays["x"], INPUTS["x"])


def test_double_precision_is_no_obstacle():
    arrays, told = found({"x": INPUTS["x"], "calibration_x": -INPUTS["x"].astype(np.float64)})
    assert told["origin"] == "held out" and arrays["x"].dtype == np.float32


@pytest.mark.parametrize(
    "arrays, said",
    [
        ({"y": INPUTS["x"]}, "has no array x, which the model takes; it has y"),
        ({"x": np.zeros((20, 3), np.float32)}, "x has shape (3,) a sample, the model's input (2,)"),
        ({"x": np.zeros((20, 2), np.int64)}, "x is int64, the model's input float32"),
        ({"x": np.zeros((0, 2), np.float32)}, "x has no samples"),
        ({"x": np.full((20, 2), np.nan, np.float32)}, "40 of the 40 values of x are NaN or infinite"),
    ],
)
def test_those_that_do_not_fit_are_refused(arrays, said):
    with pytest.raises(Unavailable, match=r"own\.npz") as raised:
        user_data.require_fit(arrays, INPUTS, "own.npz")
    assert said in str(raised.value)


@pytest.mark.parametrize("count", [1, 5, CALIBRATION_SAMPLES, 10 * CALIBRATION_SAMPLES + 3])
def test_the_rows_are_spread_over_all(count):
    rows = spread(count)
    assert len(rows) == min(count, CALIBRATION_SAMPLES) == len(set(rows))
    assert rows[0] == 0 and rows[-1] >= count - 1 - count // CALIBRATION_SAMPLES


def test_batches_are_whole(tmp_path):
    piece = Workpiece(tmp_path, {}, {}, INPUTS, tmp_path)
    assert [len(batch["x"]) for batch in piece.batches(8, 64)] == [8, 8]
    assert [len(batch["x"]) for batch in piece.batches(8, 9)] == [8]
    # Fewer samples than a batch: some come twice.
    assert [len(batch["x"]) for batch in piece.batches(32, 64)] == [32]


def test_batches_are_spread_over_sorted_data(tmp_path):
    piece = Workpiece(tmp_path, {}, {}, {"x": np.arange(256)}, tmp_path)
    taken = np.concatenate([batch["x"] for batch in piece.batches(8, 64)])
    assert len(set(taken)) == 64 and taken.min() == 0 and taken.max() == 252
