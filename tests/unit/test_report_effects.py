"""What the report says of an optimization beside its speed: why it does not pay, what it costs and saves."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from hwfit.archive import profiles_of
from hwfit.break_even import NEVER
from hwfit.records import COLUMNS, Cell, Profile, profile_path, write_json
from hwfit.report import effects
from hwfit.report.inputs import read_artifacts
from hwfit.report.language import Language
from hwfit.report.numbers import MISSING, TIMES
from hwfit.report.papers import paper_lines
from hwfit.report.table import as_json, prepare
from studies import make_plan
from tables import make_row

PASSES = {
    "bf16": [{"pass": "cast", "dtype": "bfloat16"}],
    "int8": [{"pass": "quantize_static", "dtype": "int8"}],
    "prune50": [{"pass": "prune", "amount": 0.5}],
    "sparse": [{"pass": "sparse_2_4"}],
    "compile": [{"pass": "compile"}],
    "streams": [{"pass": "performance_hint", "hint": "throughput"}],
}
PLAN = {"optimizations": {name: {"passes": passes} for name, passes in PASSES.items()}}
CPU = {"accelerator": "cpu", "cpu_flags": ["avx2", "avx512_vnni"]}


@pytest.fixture
def words() -> Language:
    return Language("en")


def row(optimization: str, p50_ms: float, batch_size: int = 1, width: float = 0.01, **more: Any) -> dict:
    """A row with a median time and the half-width of its interval."""
    made = make_row("lenet-5", "cpu", "torch", optimization, batch_size) | {"valid": True, "flags": ""}
    made |= {"latency_p50_ci_low_ms": p50_ms * (1 - width), "latency_p50_ci_high_ms": p50_ms * (1 + width)}
    made |= {"latency_p50_ms": p50_ms, "verdict": "dominated", "parameters": 1000, "nonzero_parameters": 1000}
    return made | {"file_size_mb": 4.0, "model_size_mb": 4.0, "peak_memory_mb": 100.0} | more


def prepared(*rows: dict) -> pd.DataFrame:
    return prepare(pd.DataFrame(rows, columns=list(COLUMNS)), {})


def said(words: Language, *rows: dict, inventory: Any = None) -> str:
    """What is said of the one optimization of some rows."""
    (found,) = effects.optimization_effects(prepared(*rows), PLAN, {"cpu": inventory or CPU}, words)
    return str(found["text"])


# --- Why it does not pay ----------------------------------------------------------------------------------


def test_zeros_save_no_time_where_kernels_are_dense(words):
    text = said(words, row("baseline", 10.0), row("prune50", 10.1, nonzero_parameters=500))
    assert "It halves the non-zero weights and saves no time on this device: its kernels are dense." in text
    text = said(words, row("baseline", 10.0), row("prune50", 12.0, nonzero_parameters=80))
    assert "It leaves 8% of the non-zero weights" in text


def test_nobody_speaks_of_dense_kernels_where_it_pays_or_weights_were_taken_out_or_kernels_are_sparse(words):
    for pruned in (
        row("prune50", 5.0, nonzero_parameters=500),
        row("prune50", 12.0, nonzero_parameters=500, parameters=500),
        row("sparse", 12.0, nonzero_parameters=500),
    ):
        assert "dense" not in said(words, row("baseline", 10.0), pruned)


def test_a_format_is_blamed_only_as_far_as_the_record_tells(words):
    baseline = row("baseline", 10.0)
    assert "No operator computes in bf16 there: f32 12." in said(
        words, baseline, row("bf16", 12.0, operator_formats="f32 12")
    )
    text = said(words, baseline, row("int8", 12.0, operator_formats="i8 10, f32 5"))
    assert "5 of 15 operators still compute in fp32" in text
    assert "This CPU has no instructions for bf16" in said(words, baseline, row("bf16", 12.0))
    has_units = CPU | {"cpu_flags": ["avx512_bf16"]}
    told = said(words, baseline, row("bf16", 12.0), inventory=has_units)
    assert told.endswith("at worst."), "where the record tells nothing, nothing is said"
    unknown = said(words, baseline, row("bf16", 12.0), inventory={"accelerator": "cuda"})
    assert unknown == told


def test_streams_for_many_calls_do_not_help_one(words):
    rows = [row("baseline", 10.0), row("streams", 12.0)]
    assert "it is for the scenario offline" in said(words, *rows)
    offline = [each | {"scenario": "offline"} for each in rows]
    assert "scenario offline" not in said(words, *offline)


def test_a_difference_within_the_noise_is_called_that(words):
    assert "within the noise" in said(words, row("baseline", 10.0, width=0.1), row("compile", 9.5, width=0.1))


def test_no_cause_is_given_for_what_is_hardly_known(words):
    wide = [row("baseline", 10.0, width=0.3), row("prune50", 10.1, width=0.3, nonzero_parameters=500)]
    assert "dense" not in said(words, *wide)
    assert "within the noise" in said(words, *wide)


def test_what_it_saves_in_place_of_time_is_told(words):
    small = row("int8", 12.0, file_size_mb=1.0, peak_memory_mb=80.0)
    assert "a file of 25% of the baseline's size, 80% of its memory" in said(
        words, row("baseline", 10.0), small
    )
    assert "saves space" not in said(words, row("baseline", 10.0), row("int8", 12.0))


# --- What it costs ----------------------------------------------------------------------------------------


def test_compiling_is_set_against_what_it_saves(words):
    compiled = row("compile", 7.0, first_call_ms=27_500.0, break_even_calls=9001)
    assert "It earns its 27.5 s of compiling back after 9,000 calls." in said(
        words, row("baseline", 10.0, first_call_ms=20.0), compiled
    )
    later = row("bf16", 7.0, load_s=3.3, break_even_calls=1001)
    assert "It starts 3.00 s later, and earns that back after 1,000 calls." in said(
        words, row("baseline", 10.0), later
    )


def test_what_never_breaks_even_or_starts_hardly_later_is_no_sentence(words):
    for optimized in (
        row("compile", 12.0, first_call_ms=27_000.0, break_even_calls=NEVER),
        row("compile", 7.0, break_even_calls=3),
    ):
        assert "back after" not in said(words, row("baseline", 10.0), optimized)


def test_an_artifact_is_made_once(words):
    assert "Making it took 41.3 s, once." in said(
        words, row("baseline", 10.0), row("int8", 5.0, artifact_s=41.3)
    )


# --- The table of effects ---------------------------------------------------------------------------------


def test_ratios_are_over_the_baseline_of_the_same_batch_and_energy_of_the_same_sensor():
    sensor = {"energy_source": "rapl (package)", "energy_j_per_sample": 2.0}
    other = {"energy_source": "nvml (board)", "energy_j_per_sample": 1.0}
    rows = prepared(
        row("baseline", 10.0, **sensor),
        row("int8", 5.0, file_size_mb=1.0, peak_memory_mb=50.0, **sensor | {"energy_j_per_sample": 1.0}),
        row("bf16", 5.0, model_size_mb=2.0, **other),
        row("int8", 5.0, 8),
    ).set_index(["optimization", "batch_size"])
    assert rows.loc[("int8", 1), ["file_ratio", "memory_ratio", "energy_ratio"]].tolist() == [0.25, 0.5, 0.5]
    assert rows.loc[("bf16", 1), "model_ratio"] == 0.5
    assert pd.isna(rows.loc[("bf16", 1), "energy_ratio"])
    assert pd.isna(rows.loc[("int8", 8), "file_ratio"]), "there is no baseline at this batch size"
    assert rows["effect"].to_dict() == {
        ("int8", 1): "pays",
        ("bf16", 1): "pays",
        ("int8", 8): "",
        ("baseline", 1): "",
    }


def test_columns_that_nobody_has_figures_for_are_left_out(words):
    rows = prepared(row("baseline", 10.0), row("int8", 5.0, artifact_s=3.0))
    names = [column["name"] for column in effects.table_columns(rows, words)]
    assert names[:6] == ["optimization", "device", "runtime", "batch_size", "effect", "speedup"]
    assert "artifact_s" in names
    assert not {"energy_ratio", "perplexity_increase"} & set(names)


def test_never_goes_to_the_browser_as_a_word_and_nonsense_as_nothing():
    rows = prepared(
        row("baseline", 10.0),
        *(row(f"o{n}", 10.0, break_even_calls=v) for n, v in enumerate((NEVER, "41", "soon", None))),
    )
    sent = {line[list(COLUMNS).index("optimization")]: line for line in as_json(rows)}
    at = list(COLUMNS).index("break_even_calls")
    assert [sent[f"o{n}"][at] for n in range(4)] == [NEVER, 41, None, None]


# --- A paper beside it ------------------------------------------------------------------------------------

PAPER = {
    "title": "Deep Compression",
    "error_before": 0.008,
    "error_after": 0.0074,
    "original_kb": 1720,
    "compressed_kb": 44,
    "ratio": 39,
}


def test_a_papers_figures_stand_beside_those_measured(words):
    step = {"pass": "deep_compression", "original_bytes": 1_720_000, "file_bytes": 43_000, "paper": PAPER}
    judged = {"accuracy": 0.99, "accuracy_drop": 0.001}
    rows = prepared(row("baseline", 10.0), row("deep", 12.5, **judged), row("baseline", 10.0, 8))
    (found,) = paper_lines(rows, {"cpu/torch/lenet-5/deep/single_stream": [{"pass": "prune"}, step]}, words)
    assert (found["title"], found["optimization"]) == ("Deep Compression", "deep")
    paper, measured = found["lines"]
    assert paper == ["paper", "0.8%", "0.74%", "1,720", "44.0", f"39.0{TIMES}", MISSING]
    assert measured == ["measured here", "0.9%", "1%", "1,720", "43.0", f"40.0{TIMES}", f"0.80{TIMES}"]


def test_a_paper_that_says_less_leaves_dashes(words):
    step = {"pass": "other", "paper": {"title": "T", "ratio": "much"}}
    rows = prepared(row("baseline", 10.0), row("deep", 12.5, accuracy=None, accuracy_drop=None))
    (found,) = paper_lines(rows, {"cpu/torch/lenet-5/deep/single_stream": [step]}, words)
    assert found["lines"][0][1:] == [MISSING] * 6
    assert found["lines"][1][1:4] == [MISSING] * 3
    assert paper_lines(rows, {}, words) == []


def test_what_the_steps_of_an_artifact_say_is_read_from_the_records(tmp_path):
    matrix = {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1, 8]}
    matrix["optimizations"] = ["baseline", "bf16", "prune50"]
    plan = make_plan(matrix=matrix).to_dict()
    step = {"pass": "prune", "seconds": 1.0, "paper": PAPER}
    for optimization in matrix["optimizations"]:
        cell = Cell("net", "cpu", "torch", optimization, "single_stream")
        profile = Profile(
            **cell.__dict__, batch_size=8, round=0, status="ok", metrics={"latency_p50_ms": 1.0}
        )
        profile.details = {"artifact_steps": [step, "nonsense"]}
        write_json(profile_path(tmp_path / "results/profiles", cell, 0, 8), profile.to_dict())
    assert len(list(profiles_of(plan, tmp_path))) == 3
    assert read_artifacts(plan, tmp_path) == {"cpu/torch/net/prune50/single_stream": [step]}
