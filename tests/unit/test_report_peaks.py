"""The table of measured peaks: by format and runtime, with what is published beside it."""

import pytest

from hwfit.report.language import LANGUAGES, Language
from hwfit.report.peaks import peak_table

EN = Language("en")


def inventory(name="AMD EPYC, 2 cores", **more):
    """A device with two runtimes, one of which computes no bf16."""
    torch = {"matmul_float32_gflops": 150.0, "matmul_bfloat16_gflops": 290.0, "memory_copy_gb_s": 11.0}
    onnxruntime = {"matmul_float32_gflops": 160.0, "memory_copy_gb_s": 10.0}
    unread = {"matmul_bfloat16_gflops": "no kernel"}
    runtimes = {
        "torch": {"status": "ok", "peaks": torch, "peaks_unread": {}},
        "onnxruntime": {"status": "ok", "peaks": onnxruntime, "peaks_unread": unread},
        "mindspore": {"status": "crashed", "reason": "Illegal instruction"},
    }
    return {"name": name, "runtimes": runtimes, "peaks": torch | {"matmul_float32_gflops": 160.0}} | more


def test_each_format_has_a_line_and_each_runtime_that_has_peaks_a_column():
    table = peak_table(inventory(), EN)
    assert table["runtimes"] == ["torch", "onnxruntime"]
    by_label = {line["label"]: line["values"] for line in table["lines"]}
    assert by_label["Matrix product fp32, GFLOP/s"] == ["150", "160"]
    assert by_label["Matrix product bf16, GFLOP/s"] == ["290", ""]
    assert table["notes"] == ["Matrix product bf16, GFLOP/s, onnxruntime: no kernel"]


def test_a_cpu_has_nothing_published():
    table = peak_table(inventory(), EN)
    assert table["source"] is None
    assert {line["published"] for line in table["lines"]} == {""}


def test_an_accelerator_has_the_share_of_its_published_dense_peak():
    peaks = {"matmul_bfloat16_gflops": 742e3, "memory_read_gb_s": 3000.0}
    told = inventory("NVIDIA H100 80GB HBM3", peaks=peaks, runtimes={"torch": {"peaks": peaks}})
    table = peak_table(told, EN)
    assert table["source"]["name"] == "H100 SXM"
    assert [line["share"] for line in table["lines"]] == ["75%", "90%"]
    assert table["notes"] == []


def test_a_peak_above_the_published_one_is_named():
    peaks = {"matmul_bfloat16_gflops": 1979e3}
    told = inventory("NVIDIA H100 80GB HBM3", peaks=peaks, runtimes={"torch": {"peaks": peaks}})
    (note,) = peak_table(told, EN)["notes"]
    assert "2.00 times what is published" in note


@pytest.mark.parametrize("told", [{}, {"peaks": 3}, {"peaks": {"x": "y"}}, {"peaks": {}, "runtimes": []}])
def test_without_peaks_there_is_no_table(told):
    assert peak_table(told, EN) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_table(language):
    peaks = {f"matmul_{name}_gflops": 2e6 for name in ("float32", "tf32", "bfloat16", "float16", "int8")}
    state = {"torch": {"peaks": peaks, "peaks_unread": {"memory_read_gb_s": "no room"}}}
    table = peak_table(inventory("NVIDIA H200", peaks=peaks, runtimes=state), Language(language))
    assert len(table["lines"]) == 6
    assert not any("{" in text for text in [*table["notes"], *(line["label"] for line in table["lines"])])
