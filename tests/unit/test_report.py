"""What the report says, apart from how a browser shows it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import pytest

from hwfit.records import COLUMNS, STATUSES, TRUST_BREAKING_FLAGS, VERDICTS
from hwfit.report import LANGUAGES, charts, effects, findings, numbers, page, write_report
from hwfit.report.language import Language
from hwfit.report.numbers import TIMES
from hwfit.report.table import DERIVED, as_json, prepare, script_json
from tables import (
    IDENTITY,
    make_inventories,
    make_plan,
    make_recommendation,
    make_row,
    make_table,
    make_verdict,
)


@pytest.fixture(autouse=True)
def no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries take seconds to bundle, and only the browser needs them."""
    monkeypatch.setattr(page, "vega_script", lambda: "/* vega */")


@pytest.fixture
def words() -> Language:
    return Language("en")


def written(path: Path, table: pd.DataFrame | None = None, language: str = "en", **changes: Any) -> str:
    table = make_table() if table is None else table
    write_report(
        table, make_recommendation(table, **changes), make_inventories(), make_plan(), path, language
    )
    return path.read_text()


def rows_of(*rows: dict[str, Any]) -> pd.DataFrame:
    return prepare(pd.DataFrame(rows, columns=list(COLUMNS)), {})


def timed(optimization: str, batch_size: int, p50: float, width: float = 0.01, **more: Any) -> dict[str, Any]:
    """A valid row with a median time and the half-width of its interval."""
    row = make_row("lenet-5", "cpu", "torch", optimization, batch_size) | {"valid": True, "flags": ""}
    ends = {"latency_p50_ci_low_ms": p50 * (1 - width), "latency_p50_ci_high_ms": p50 * (1 + width)}
    return row | ends | {"latency_p50_ms": p50, "verdict": "dominated"} | more


# --- Numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, numbers.MISSING),
        (float("nan"), numbers.MISSING),
        (float("inf"), numbers.MISSING),
        ("much", numbers.MISSING),
        (0, "0"),
        (12345.6, "12,300"),
        (999.6, "1,000"),
        (61.234, "61.2"),
        (5, "5.00"),
        (0.01234, "0.0123"),
        (-0.5, f"{numbers.MINUS}0.500"),
        (3.2e-7, f"3.20e{numbers.MINUS}7"),
    ],
)
def test_figures_have_three_digits_and_what_is_missing_is_a_dash(value, text):
    assert numbers.figure(value) == text


def test_shares_and_points():
    assert numbers.share(0.99941) == "99.94%"
    assert numbers.share(1) == "100%"
    assert numbers.points(0.0031) == "0.31"
    assert numbers.points(None) == numbers.MISSING


# --- Languages ------------------------------------------------------------------------------------------


def leaves(text: Any, path: str = "") -> dict[str, str]:
    if not isinstance(text, dict):
        return {path: str(text)}
    if set(text) == {"one", "other"}:
        return {path: text["other"]}
    return {
        key: value for name, part in text.items() for key, value in leaves(part, f"{path}.{name}").items()
    }


def test_languages_have_the_same_keys_and_placeholders():
    def placeholders(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    english, *others = (leaves(Language(code).text) for code in LANGUAGES)
    for other in others:
        assert set(other) == set(english)
        for key in english:
            assert placeholders(other[key]) == placeholders(english[key]), key


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_name_of_the_records_has_its_words(code):
    words = Language(code)
    assert set(words.section("columns")) == set(COLUMNS)
    assert set(words.section("statuses")) == set(STATUSES)
    assert set(words.section("verdicts")) == set(VERDICTS)
    assert set(TRUST_BREAKING_FLAGS) <= set(words.section("flags"))


def test_an_unknown_language_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="allowed: en, zh"):
        written(tmp_path / "report.html", language="xx")


def test_values_put_into_words_are_escaped(words):
    assert "<img" not in words(
        "verdict.headline", device="<img>", runtime="a", optimization="b", batch_size="1"
    )


# --- The file -------------------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes(tmp_path):
    assert written(tmp_path / "a.html") == written(tmp_path / "b.html")


def test_the_policy_allows_exactly_the_scripts_of_the_page(tmp_path):
    text = written(tmp_path / "report.html")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    rules = policy[1].replace("&#39;", "'")
    scripts = re.findall(r'<script type="module">(.*?)</script>', text, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert len(scripts) == 3
    assert f"script-src {allowed};" in rules
    assert rules.startswith("default-src 'none';")
    assert "unsafe-eval" not in rules
    assert not re.search(r"<(?:script|img|link|iframe)[^>]*\b(?:src|href)=", text)


def test_names_cannot_leave_their_place(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    table = make_table(models=(evil,))
    table[["device", "runtime", "optimization", "reason", "status"]] = evil
    text = written(tmp_path / "report.html", table, sweep=evil, generated_at=evil, objective=evil)
    assert "<script>alert" not in text
    assert "<img" not in text.replace(page.table_script(), "")


def test_credentials_never_reach_the_page(tmp_path):
    text = written(tmp_path / "report.html")
    assert "secret-word" not in text
    assert "mlflow.example" in text
    hidden = findings.config_text({"config": {"uri": "https://host/?access_token=abc&x=1"}})
    assert "abc" not in hidden
    assert "x=1" in hidden


def test_data_in_a_script_element_cannot_end_it():
    data = {"name": "</script><!--", "sign": "&"}
    assert "<" not in script_json(data)
    assert json.loads(script_json(data)) == data


@pytest.mark.parametrize(
    "table",
    [
        make_table(models=()),
        make_table(devices=()),
        make_table().assign(latency_p50_ms=None, throughput_samples_per_s=None, fidelity=None, accuracy=None),
        make_table().assign(verdict=None, reason=None, flags=None),
        make_table().assign(valid=False),
        make_table().assign(batch_size="many", accuracy_drop=float("inf")),
        make_table().drop(columns=["energy_source", "rounds"]),
    ],
    ids=["empty", "absent", "no figures", "no verdicts", "distrusted", "nonsense", "columns missing"],
)
def test_a_report_comes_whatever_the_table_lacks(tmp_path, table):
    write_report(table, {"models": [{}]}, {"cpu": {}}, {}, tmp_path / "report.html", "zh")
    assert (tmp_path / "report.html").stat().st_size > 10_000


# --- The rows -------------------------------------------------------------------------------------------


def test_speedup_is_against_the_baseline_of_the_same_batch_with_the_widest_interval():
    rows = rows_of(timed("baseline", 1, 10.0), timed("bf16", 1, 5.0), timed("baseline", 8, 80.0))
    bf16 = rows[rows["optimization"] == "bf16"].iloc[0]
    assert bf16["speedup"] == pytest.approx(2.0)
    assert bf16["speedup_low"] == pytest.approx(9.9 / 5.05)
    assert bf16["speedup_high"] == pytest.approx(10.1 / 4.95)
    assert rows.loc[rows["optimization"] == "baseline", "speedup"].isna().all()


def test_rows_that_cannot_be_trusted_are_not_drawn_and_are_no_baseline():
    rows = rows_of(timed("baseline", 1, 10.0, valid=False), timed("bf16", 1, 5.0))
    assert rows.set_index("optimization")["drawn"].to_dict() == {"baseline": False, "bf16": True}
    assert rows["speedup"].isna().all()


def test_the_chosen_row_comes_first_in_its_model():
    table = make_table()
    rows = prepare(table, make_recommendation(table))
    for _, group in rows.groupby("model"):
        assert group["standing"].iloc[0] == "pick"
    assert list(rows["model"].unique()) == list(table["model"].unique())


def test_rows_for_the_browser_hold_null_where_nothing_was_measured():
    rows = prepare(make_table(), {})
    sent = as_json(rows)
    names = [*COLUMNS, *DERIVED]
    assert len(sent) == len(rows)
    absent = next(row for row in sent if row[names.index("status")] == "unavailable")
    assert absent[names.index("latency_p50_ms")] is None
    assert json.dumps(sent, allow_nan=False)
    assert [row[names.index("batch_size")] for row in sent] == rows["batch_size"].astype(int).tolist()


# --- What is said ---------------------------------------------------------------------------------------


def effect_of(words: Language, *rows: dict[str, Any]) -> dict[str, str]:
    (found,) = effects.optimization_effects(rows_of(*rows), {}, {}, words)
    return found


def test_an_optimization_that_is_slower_does_not_pay(words):
    found = effect_of(words, timed("baseline", 1, 10.0), timed("bf16", 1, 12.5))
    assert found["kind"] == "slower"
    assert f"does not pay: 0.80{TIMES} the baseline's speed" in found["text"]
    assert "accuracy" in found["text"], "speed is never told without quality"


def test_an_optimization_within_the_noise_is_not_called_faster(words):
    found = effect_of(words, timed("baseline", 1, 10.0, 0.05), timed("bf16", 1, 9.6, 0.05))
    assert found["kind"] == "same"


def test_an_optimization_may_pay_at_some_batch_sizes_only(words):
    slow, fast = timed("bf16", 1, 11.0), timed("bf16", 8, 40.0)
    found = effect_of(words, timed("baseline", 1, 10.0), timed("baseline", 8, 80.0), slow, fast)
    assert found["kind"] == "mixed"
    assert f"pays at batch size 8 (2.00{TIMES}), not at 1 (0.91{TIMES})" in found["text"]


def test_an_optimization_that_is_fast_but_rejected_breaks_a_limit(words):
    found = effect_of(words, timed("baseline", 1, 10.0), timed("bf16", 1, 5.0, verdict="rejected"))
    assert found["kind"] == "limits"


def test_coverage_counts_every_row_and_groups_reasons(words):
    table = make_table(models=("lenet-5",))
    told = findings.coverage(prepare(table, {}), words)
    assert sum(status["count"] for status in told["statuses"]) == len(table)
    assert sum(reason["count"] for reason in told["reasons"]) == (table["status"] != "ok").sum()
    assert told["reasons"][0]["status"] == "unavailable"
    assert told["grid"]["cells"]["gpu0"] == [(0, 12)] * 3


def test_the_runner_up_comes_with_its_quality(tmp_path):
    text = written(tmp_path / "report.html", make_table(models=("lenet-5",)))
    assert re.search(
        r"ahead of <b>cpu · [^<]*</b> \([\d,]+ samples/s, accuracy [\d.]+%, fidelity [\d.]+%\)", text
    )


def test_nothing_that_fits_shows_the_nearest_misses_and_the_advice(tmp_path):
    table = make_table(models=("lenet-5",))
    rejected = table[table["verdict"] == "rejected"]
    text = written(tmp_path / "report.html", table, models=[make_verdict(rejected)])
    assert "Nothing fits the limits" in text
    assert "Relaxing min_fidelity alone would let one in." in text
    assert "&lt; 0.98" in text


def test_charts_are_valid_and_name_no_data_of_their_own(words):
    specifications = charts.build(prepare(make_table(), {}), words)
    for name, specification in specifications.items():
        alt.Chart.from_dict(specification)
        text = json.dumps(specification)
        assert '"name": "rows"' in text, name
        assert '"url"' not in text


def test_identity_of_a_row_is_what_the_recommendation_is_matched_by():
    table = make_table()
    assert not table.duplicated(list(IDENTITY)).any()
