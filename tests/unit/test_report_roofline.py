"""The roofline: intensity and work from the card, roofs from the inventory, and what is said of them."""

import pandas as pd
import pytest

from hwfit.records import COLUMNS
from hwfit.report import roofline
from hwfit.report.bounds import roofline_sentences
from hwfit.report.language import LANGUAGES, Language
from hwfit.report.table import prepare
from tables import make_row

# The ridge is at 10 FLOP a byte.
INVENTORIES = {"cpu": {"peaks": {"matmul_float32_gflops": 100.0, "memory_copy_gb_s": 10.0}}}
PLAN = {"optimizations": {"bf16": {"passes": [{"pass": "cast", "dtype": "bfloat16"}]}}}


def row(gflops, intensity, optimization="baseline", batch_size=1, **more):
    """A row that achieves so many GFLOP/s at an intensity, by its activations."""
    made = make_row("lenet-5", "cpu", "torch", optimization, batch_size) | {"valid": True, "flags": ""}
    figures = {"flops_per_sample": 1e6, "throughput_samples_per_s": gflops * 1e3, "model_size_mb": 0.0}
    figures["activation_mb_per_sample"] = 1.0 / intensity / 2
    return made | figures | more


def rows_of(*rows):
    return prepare(pd.DataFrame(rows, columns=list(COLUMNS)), {})


def said(*rows, inventories=INVENTORIES, language="en"):
    roofs = roofline.roofs(inventories)
    return roofline_sentences(rows_of(*rows), roofs, PLAN, Language(language))


def test_intensity_counts_the_weights_of_a_call_once_and_activations_twice():
    (found,) = rows_of(
        row(1, 1, batch_size=4, model_size_mb=8.0, activation_mb_per_sample=1.0, flops_per_sample=8e6)
    ).to_dict("records")
    assert found["intensity"] == pytest.approx(8e6 / (8e6 / 4 + 2 * 1e6))
    assert found["achieved_gflops"] == pytest.approx(8.0)


@pytest.mark.parametrize(
    "more",
    [
        {"flops_per_sample": None},
        {"activation_mb_per_sample": None},
        {"scenario": "server"},
        {"scenario": "generate-128-32"},
        {"valid": False},
    ],
    ids=str,
)
def test_what_the_card_does_not_tell_has_no_place(more):
    assert rows_of(row(1, 1, **more))["intensity"].isna().all()
    assert said(row(1, 1, **more)) == []


def test_every_number_format_has_a_roof_of_its_own_and_half_a_device_has_none():
    peaks = {"matmul_float32_gflops": 100.0, "matmul_bfloat16_gflops": 300.0, "memory_copy_gb_s": 10.0}
    known = {
        "cpu": {"peaks": peaks},
        "pair": {"peaks": {"matmul_float32_gflops": 5.0}},
        "gpu0": {},
        "x": {"peaks": 3},
    }
    assert [(roof["device"], roof["format"]) for roof in roofline.roofs(known)] == [
        ("cpu", "fp32"),
        ("cpu", "bf16"),
    ]


def test_a_row_left_of_the_ridge_is_bound_by_memory_and_one_right_of_it_by_arithmetic():
    judged = roofline.judged(rows_of(row(5, 1), row(50, 20, batch_size=8)), roofline.roofs(INVENTORIES), PLAN)
    by_size = judged.set_index("batch_size")
    assert by_size["bound"].to_dict() == {1: "memory", 8: "compute"}
    assert by_size["share"].to_dict() == pytest.approx({1: 0.5, 8: 0.5})


def test_the_best_row_and_the_bound_of_each_are_told():
    best, bounds = said(row(5, 1), row(50, 20, batch_size=8))
    assert "50.0 GFLOP/s, 50% of what arithmetic in fp32 allows" in best["text"]
    assert "memory bounds one of 2 rows (batch size 1)" in bounds["text"]
    assert {each["device"] for each in (best, bounds)} == {"cpu"}


def test_a_row_above_the_fp32_roof_says_that_it_computes_in_another_format():
    *_, above = said(row(50, 20), row(170, 20, "bf16"))
    assert above["kind"] == "above"
    assert "computes in bf16, for which no peak was measured" in above["text"]


def test_with_a_peak_of_its_own_format_such_a_row_lies_under_its_roof():
    peaks = INVENTORIES["cpu"]["peaks"] | {"matmul_bfloat16_gflops": 200.0}
    told = said(row(50, 20), row(170, 20, "bf16"), inventories={"cpu": {"peaks": peaks}})
    assert "85% of what arithmetic in bf16 allows" in told[0]["text"]
    assert all(each["kind"] != "above" for each in told)


def test_a_row_above_the_slope_has_its_data_in_caches():
    *_, above = said(row(40, 1), row(50, 20, batch_size=8))
    assert "fit in caches" in above["text"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_sentences(language):
    for rows in ([row(5, 1)], [row(150, 20)], [row(40, 1), row(170, 20, "bf16"), row(150, 30)]):
        told = said(*rows, language=language)
        assert told
        assert not any("{" in each["text"] for each in told)
