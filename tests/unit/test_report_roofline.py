"""The roofline in the report: places for rows, roofs for devices, and what is said of them."""

import pandas as pd
import pytest

from hwfit.records import COLUMNS
from hwfit.report import roofline
from hwfit.report.bounds import roofline_sentences
from hwfit.report.language import LANGUAGES, Language
from hwfit.report.table import prepare
from tables import make_row

INVENTORIES = {"cpu": {"peaks": {"matmul_float32_gflops": 100.0, "memory_copy_gb_s": 10.0}}}


def row(gflops, bound="compute", share=0.5, batch_size=1, **more):
    """A row that achieves so many GFLOP/s, which is a share of what bounds it."""
    made = make_row("lenet-5", "cpu", "torch", "baseline", batch_size) | {"valid": True, "flags": ""}
    figures = {"flops_per_sample": 1e6, "throughput_samples_per_s": gflops * 1e3, "model_size_mb": 0.0}
    figures |= {"activation_mb_per_sample": 1.0, "number_format": "fp32"}
    return made | figures | {"bound": bound, "utilization": share} | more


def rows_of(*rows):
    return prepare(pd.DataFrame(rows, columns=list(COLUMNS)), {})


def said(*rows, inventories=INVENTORIES, language="en"):
    return roofline_sentences(rows_of(*rows), roofline.roofs(inventories), Language(language))


def test_a_row_has_its_place():
    (found,) = rows_of(row(8.0)).to_dict("records")
    assert found["intensity"] == pytest.approx(0.5)
    assert found["achieved_gflops"] == pytest.approx(8.0)


@pytest.mark.parametrize(
    "more",
    [{"flops_per_sample": None}, {"scenario": "server"}, {"valid": False}, {"number_format": ""}],
    ids=str,
)
def test_what_is_not_told_or_not_trusted_has_no_place(more):
    assert rows_of(row(1, **more))["intensity"].isna().all()
    assert said(row(1, **more)) == []


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


def test_the_best_row_and_the_bound_of_each_are_told():
    best, memory, compute = said(row(5, "memory"), row(50, batch_size=8))
    assert "50.0 GFLOP/s, 50% of what arithmetic in fp32 allows" in best["text"]
    assert "memory bounds one of 2 rows (batch size 1)" in memory["text"]
    assert "Arithmetic bounds one of 2 rows (batch size 8)" in compute["text"]
    assert {each["device"] for each in (best, memory, compute)} == {"cpu"}


def test_rows_that_stay_in_the_cache_are_said_to_be_bound_by_neither():
    best, every = said(row(5, "cache"))
    assert "of what arithmetic in fp32 allows" in best["text"]
    assert (every["kind"], "fits into the device's last cache" in every["text"]) == ("cache", True)


def test_a_row_of_a_format_without_a_peak_is_held_against_nothing():
    (told,) = said(row(170, None, None, number_format="bf16"))
    assert told["kind"] == "above"
    assert "computes in bf16, for which no peak was measured" in told["text"]


def test_a_row_above_the_slope_has_data_in_caches():
    *_, above = said(row(40, "memory", 4.0), row(50, batch_size=8))
    assert "stays in caches" in above["text"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_sentences(language):
    for rows in (
        [row(5, "memory")],
        [row(5, "cache")],
        [row(150, share=1.5)],
        [row(40, "memory", 4.0), row(9, "cache"), row(150), row(170, None, None, number_format="bf16")],
    ):
        told = said(*rows, language=language)
        assert told
        assert not any("{" in each["text"] for each in told)
