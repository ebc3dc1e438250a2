"""What an ONNX file says of its inputs, and what models.yaml and the data add: one whole, or a message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwfit.worker import onnx_signature
from hwfit.worker.arrangement import arranged, samples_first
from hwfit.worker.errors import Unavailable, Unsupported
from hwfit.worker.onnx_signature import Argument, described, generated, matched

X = Argument("input", (None, None), "float32")
STATE = Argument("state", (2, None, 128), "float32")
RATE = Argument("sr", (), "int64")
TOLD = {
    "input": {"shape": [576]},
    "state": {"batch_axis": 1, "value": 0},
    "sr": {"batch_axis": 0, "value": 16000},
}


def refused(signature: list[Argument], told: dict[str, Any]) -> str:
    with pytest.raises(Unsupported) as caught:
        entries, _ = described(signature, told)
        generated(entries, told, 4)
    return str(caught.value)


def test_a_signature_and_what_is_told_make_the_cards_inputs() -> None:
    entries, batch = described([X, STATE, RATE], TOLD)
    assert batch is None
    assert entries == [
        {"name": "input", "dtype": "float32", "shape": [576]},
        {"name": "state", "dtype": "float32", "shape": [2, 128], "batch_axis": 1, "value": 0},
        {"name": "sr", "dtype": "int64", "shape": [], "batch_axis": None, "value": 16000},
    ]
    arrays = arranged({"input": np.ones((5, 576), np.float32)}, {"inputs": entries})
    assert {name: array.shape for name, array in arrays.items()} == {
        "input": (5, 576),
        "state": (2, 5, 128),
        "sr": (),
    }
    assert arrays["sr"].dtype == np.int64 and arrays["sr"] == 16000


def test_samples_come_first_in_data_and_where_the_model_has_them_in_a_call() -> None:
    entries, _ = described([STATE], {"state": {"batch_axis": 1}})
    batch = np.random.default_rng(0).random((3, 2, 128))
    (array,) = arranged({"state": batch}, {"inputs": entries}).values()
    assert array.shape == (2, 3, 128) and array.flags["C_CONTIGUOUS"]
    assert np.allclose(array[:, 1], batch[1])
    assert np.allclose(samples_first(array, {"output_axis": 1}), batch)


@pytest.mark.parametrize(
    ("signature", "told", "expected"),
    [
        ([X, RATE], {"input": {"shape": [4]}}, "its input sr int64 [] has no batch: give it a constant"),
        (
            [X],
            {},
            "a sample of its input input has sizes [?]: say which in models.yaml, e.g. inputs",
        ),
        ([X], {"inpt": {}}, "describes the input inpt; the file takes input float32 [?, ?]"),
        ([X], {"input": {"shape": [4, 4]}}, "shape [4, 4] for a sample of input float32 [?, ?], whose sizes"),
        (
            [STATE],
            {"state": {"batch_axis": 3}},
            "batch_axis 3 for state float32 [2, ?, 128], which has no such",
        ),
        (
            [STATE, Argument("x", (1, 4), "float32")],
            {},
            "is the batch unless models.yaml says otherwise, and it",
        ),
        (
            [Argument("x", (None,), "", "tensor(string)")],
            {},
            "its input x tensor(string) [?]: hwfit has no such",
        ),
        ([RATE], {"sr": {"value": 1}}, "every input is a constant"),
        (
            [X, RATE],
            {"sr": {"value": 0.5}},
            "the value of sr int64 [] in models.yaml does not fit: 0.5 is no",
        ),
        ([STATE], {"state": {"batch_axis": 1, "value": [1, 2]}}, "the value of state float32 [2, ?, 128]"),
    ],
)
def test_what_does_not_fit_the_file_is_a_message(
    signature: list[Argument], told: dict[str, Any], expected: str
) -> None:
    assert expected in refused(signature, told)


def test_a_batch_that_the_file_fixes_is_the_only_one() -> None:
    entries, batch = described([Argument("x", (1, 4), "float32")], {})
    assert batch == 1
    card = {"inputs": entries, "batch_size": batch}
    assert arranged({"x": np.zeros((1, 4))}, card)["x"].shape == (1, 4)
    with pytest.raises(Unsupported, match="takes batches of 1 alone"):
        arranged({"x": np.zeros((8, 4))}, card)


def test_generated_inputs_are_of_the_kind_and_range_and_the_same_each_time() -> None:
    signature = [
        X,
        Argument("ids", (None, 7), "int64"),
        Argument("mask", (None, 7), "bool"),
        Argument("half", (None, 9), "float16"),
    ]
    told = {"input": {"shape": [50]}, "ids": {"range": [5, 9]}, "half": {"range": [2.0, 3.0]}}
    entries, _ = described(signature, told)
    arrays = generated(entries, told, 200)
    assert {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} == {
        "input": ((200, 50), "float32"),
        "ids": ((200, 7), "int64"),
        "mask": ((200, 7), "bool"),
        "half": ((200, 9), "float16"),
    }
    assert abs(arrays["input"].mean()) < 0.05 and abs(arrays["input"].std() - 1) < 0.05
    assert sorted(set(arrays["ids"].ravel())) == [5, 6, 7, 8, 9]
    assert arrays["mask"].any() and not arrays["mask"].all()
    assert 2 <= arrays["half"].min() < arrays["half"].max() <= 3
    again = generated(entries, told, 200)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


def test_generated_inputs_stay_within_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_signature, "MOST_BYTES", 1e4)
    for size, samples in ((25, 100), (100_000, 1)):
        entries, _ = described([Argument("x", (None, size), "float32")], {})
        assert len(generated(entries, {}, 256)["x"]) == samples


def entries_of(**inputs: tuple[str, list[int | None]]) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": dtype, "shape": shape} for name, (dtype, shape) in inputs.items()]


def test_data_are_matched_by_name_and_a_single_array_fits_a_single_input() -> None:
    data = {"b": np.ones((4, 2)), "a": np.zeros((4, 3), np.int32), "extra": np.ones(4)}
    taken = matched(entries_of(a=("int64", [3]), b=("float16", [None])), data, "mine.npz")
    assert [(name, str(array.dtype)) for name, array in taken.items()] == [("a", "int64"), ("b", "float16")]
    assert list(matched(entries_of(x=("float32", [2])), {"pixels": np.ones((4, 2))}, "mine.npz")) == ["x"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"ids": np.ones((4, 3), int), "mask": np.ones((4, 3))},
            "mine.npz lacks tokens, rate: the model takes tokens int64 [?] a sample; rate float32 [1] a "
            "sample; the data have ids int64 [3]; mask float64 [3]",
        ),
        (
            {"tokens": np.ones((4, 3), int), "rate": np.ones(4)},
            "a sample of rate has shape [], the model takes [1]",
        ),
        (
            {"tokens": np.ones((4, 3)) / 2, "rate": np.ones((4, 1))},
            "tokens is float64, and the model takes int64",
        ),
        (
            {"tokens": np.full((4, 3), "a"), "rate": np.ones((4, 1))},
            "tokens is <U1, and the model takes int64",
        ),
    ],
)
def test_data_that_do_not_fit_say_what_both_have(data: dict[str, np.ndarray], expected: str) -> None:
    with pytest.raises(Unavailable) as caught:
        matched(entries_of(tokens=("int64", [None]), rate=("float32", [1])), data, "mine.npz")
    assert expected in str(caught.value)
