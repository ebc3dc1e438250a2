"""The page itself: template, style, scripts and data in one file that cannot reach the network."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import altair
import jinja2
import pandas as pd
import vl_convert
from markupsafe import Markup

from hwfit.records import COLUMNS
from hwfit.report import charts, effects, energy, findings, numbers, prices, provenance, roofline
from hwfit.report.answers import limits_for
from hwfit.report.bounds import roofline_sentences
from hwfit.report.goals import goal
from hwfit.report.language import Language
from hwfit.report.memory import memory_section
from hwfit.report.numbers import number
from hwfit.report.papers import Artifacts, paper_lines
from hwfit.report.sets import set_cards
from hwfit.report.splits import split_effects
from hwfit.report.table import DERIVED, as_json, script_json, values_of
from hwfit.report.training import Training, curve_data, section
from hwfit.report.training_chart import training_chart
from hwfit.report.verdicts import cards

# The Vega-Lite that altair writes, as vl-convert names it: 6.4.
VEGA_LITE = altair.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
# What a reader wants first; the rest waits behind the column button, in a row's details and in the CSV.
DEFAULT_COLUMNS: tuple[str, ...] = (
    "model",
    "device",
    "runtime",
    "optimization",
    "scenario",
    "batch_size",
    "verdict",
    "status",
    "throughput_samples_per_s",
    "latency_p50_ms",
    "latency_p90_ms",
    "accuracy",
    "fidelity",
    "peak_memory_mb",
)
# The longest, so last.
LAST_COLUMNS = ("flags", "reason")
# Shown where they were measured.
OCCASIONAL_COLUMNS = (
    "time_to_first_token_ms",
    "time_per_output_token_ms",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "kv_cache_mb",
    "perplexity",
    "bound",
    "utilization",
    "break_even_calls",
    "energy_j_per_sample",
    "energy_net_j_per_sample",
    "energy_j_per_token",
    "energy_scope",
    "cost_per_million",
    "cost_per_million_tokens",
)
# Beside the report; the rest of `downloads` is named without a note.
MEASUREMENTS = "measurements.zip"
FILTER_COLUMNS = ("model", "device", "runtime", "optimization", "scenario", "status", "verdict")


@dataclass(frozen=True)
class Surroundings:
    """What a report shows beside rows and answers; `write_report` says what each is."""

    inventories: Mapping[str, Mapping[str, Any]]
    plan: Mapping[str, Any]
    environments: Mapping[str, Any]
    contexts: provenance.Contexts
    artifacts: Artifacts
    absences: energy.Absences
    downloads: Sequence[str]
    problems: Sequence[str]
    training: Training | None = None


def render(rows: pd.DataFrame, recommendation: dict[str, Any], around: Surroundings, words: Language) -> str:
    """The report's HTML. `rows` come from `table.prepare`, the recommendation from `answers.readable`."""
    scripts = [vega_script(), table_script(), package_file("report.js")]
    trained = section(around.training, recommendation, words) if around.training else None
    if trained:
        scripts.append(package_file("training.js"))
    template = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(package_file),
    ).get_template("report.html")
    return template.render(
        words=words,
        policy=content_security_policy(scripts),
        style=Markup(table_style() + package_file("report.css")),
        scripts=[Markup(script) for script in scripts],
        data=Markup(script_json(page_data(rows, recommendation, around, words))),
        provenance={
            name: recommendation.get(name) or "" for name in ("sweep", "hwfit_version", "generated_at")
        },
        goal=goal(recommendation, words),
        counts=counts(rows, recommendation, words),
        problems=around.problems,
        measured=int((rows["status"] == "ok").sum()),
        cards=cards(recommendation, rows, words),
        sets=set_cards(recommendation, words),
        models=values_of(rows, "model"),
        measured_questions=values_of(rows[rows["drawn"]], "question"),
        legend=legend(rows),
        filters={
            column: values_of(rows, column)
            for column in FILTER_COLUMNS
            if column != "scenario" or rows["scenario"].nunique() > 1
        },
        coverage=findings.coverage(rows, words) if len(rows) else None,
        memory=memory_section(rows, words) if len(rows) else None,
        validity=findings.validity(rows, words),
        devices=findings.environment(around.inventories, words),
        energy_notes=energy.notes(rows, around.absences, is_energy_wanted(around.plan), words),
        energy_figures=energy.figures(rows, words),
        energy_meters=energy.meters(rows, words),
        prices=prices.prices_made(rows, around.plan, words),
        downloads=[(name, words.find("downloads.files", name) or "") for name in around.downloads],
        sites=provenance.sites(around.plan, words),
        software=provenance.software(),
        environments=provenance.environments(around.environments),
        differences=provenance.differences(around.contexts, words),
        config=findings.config_text(around.plan),
        training=trained,
        has_rows=len(rows) > 0,
    )


def page_data(
    rows: pd.DataFrame, recommendation: Mapping[str, Any], around: Surroundings, words: Language
) -> dict[str, Any]:
    """What `report.js` reads."""
    roofs = roofline.roofs(around.inventories)
    occasional = (
        column for column in OCCASIONAL_COLUMNS if (rows[column].notna() & (rows[column] != "")).any()
    )
    shown = (*DEFAULT_COLUMNS, *occasional, *LAST_COLUMNS)
    if rows["scenario"].nunique() == 1:
        shown = tuple(column for column in shown if column != "scenario")
    return {
        "language": words.code,
        "columns": [
            {
                "name": column,
                "label": words(f"columns.{column}"),
                "kind": numbers.kind(column),
                "shown": column in shown,
            }
            for column in COLUMNS
        ],
        "derived": DERIVED,
        "order": [*shown, *(column for column in COLUMNS if column not in shown)],
        "rows": as_json(rows),
        "charts": charts.build(rows, words),
        "limits": limits(rows, recommendation),
        "roofs": [
            roof
            | {
                "flat": words("charts.roofline.flat", **roof | {"gflops": numbers.figure(roof["gflops"])}),
                "slope": words("charts.roofline.slope", gb_s=numbers.figure(roof["gb_s"])),
            }
            for roof in roofs
        ],
        "effects": effects.optimization_effects(rows, around.plan, around.inventories, words),
        "effect_columns": effects.table_columns(rows, words),
        "papers": paper_lines(rows, around.artifacts, words),
        "bounds": roofline_sentences(rows, roofs, words),
        "splits": split_effects(rows, around.plan, words),
        "training": training_data(around.training, words) if around.training else None,
        "archive": MEASUREMENTS if MEASUREMENTS in around.downloads else None,
        "energy_figures": {energy.figure_of(scope): scope for scope in energy.energy_scopes(rows)},
        "words": words.section("browser")
        | {
            "statuses": words.section("statuses"),
            "verdicts": words.section("verdicts"),
        },
        "table_words": words.section("table.words"),
    }


def is_energy_wanted(plan: Mapping[str, Any]) -> bool:
    """Whether the config asks for energy, as it does where it says nothing."""
    config = plan.get("config")
    measurement = config.get("measurement") if isinstance(config, Mapping) else None
    return not isinstance(measurement, Mapping) or measurement.get("energy_seconds") != 0


def training_data(training: Training, words: Language) -> dict[str, Any]:
    """What `training.js` reads."""
    optimizers = values_of(training.configurations, "optimizer")
    return {"panels": curve_data(training), "chart": training_chart(optimizers, words)}


def limits(rows: pd.DataFrame, recommendation: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The limits of each question as its rows carry them for the charts."""
    questions = rows.drop_duplicates("question")
    return {
        question: {
            f"limit_{name}": value for name, value in limits_for(recommendation, model, scenario).items()
        }
        for question, model, scenario in zip(
            questions["question"], questions["model"], questions["scenario"], strict=True
        )
    }


def counts(rows: pd.DataFrame, recommendation: Mapping[str, Any], words: Language) -> list[Markup]:
    """The size of the study: combinations, measured ones, time."""
    facts = [
        words("counts.combinations", count=numbers.count(len(rows))),
        words("counts.measured", count=numbers.count((rows["status"] == "ok").sum())),
    ]
    seconds = number(recommendation.get("seconds_measured"))
    if seconds:
        facts.append(
            words("counts.minutes", count=f"{seconds / 60:,.0f}")
            if seconds >= 90
            else words("counts.seconds", count=f"{seconds:.0f}")
        )
    return facts


def legend(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The filter groups of the charts, which are their legend too: what is drawn, with its mark."""
    drawn = rows[rows["drawn"]]
    known = charts.marks(rows)
    dot, plain = charts.SHAPES[0], "currentColor"
    present = {column: set(values_of(drawn, column)) for column in known}
    return [
        {"column": "device", "entries": [{"name": name} for name in values_of(drawn, "device")]},
        *(
            {
                "column": column,
                "entries": [
                    {"name": name, "shape": dot, "colour": mark}
                    if column == "runtime"
                    else {"name": name, "shape": mark, "colour": plain}
                    for name, mark in known[column].items()
                    if name in present[column]
                ],
            }
            for column in known
        ),
    ]


def content_security_policy(scripts: list[str]) -> str:
    """Nothing but these very scripts, styles in the page, and images made in it: no network at all."""
    hashes = " ".join(
        "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def package_file(name: str) -> str:
    """A text file of this package."""
    return (files("hwfit.report") / name).read_text(encoding="utf-8")


@functools.cache
def vega_script() -> str:
    """Vega, Vega-Lite and vega-embed as one module that leaves `vegaEmbed` on the window."""
    return safe_in_script(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE))


@functools.cache
def table_script() -> str:
    """DataTables as itables ships it: a module whose default export goes to the window."""
    bundle = (files("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    exported = re.search(r"\bexport\{([^}]*)\};?", bundle)
    assert exported, "itables ships its bundle as a module"
    name = re.search(r"([\w$]+) as default", exported[1])
    assert name, "the bundle's default export is DataTables"
    script = bundle[: exported.start()] + f"window.DataTable={name[1]};" + bundle[exported.end() :]
    return safe_in_script(script)


def table_style() -> str:
    """The stylesheet that belongs to `table_script`."""
    return (files("itables") / "html" / "dt_bundle.css").read_text(encoding="utf-8")


def safe_in_script(script: str) -> str:
    """A library's script, checked to survive inside a script element as it is: its hash depends on it."""
    if "</script" in script.lower() or "\r" in script:
        raise ValueError("a bundled script cannot be put inline as it is")
    # After '<!--' a parser reads '<script' differently. The libraries have it in strings and patterns only.
    return script.replace("<!--", "\\x3c!--")
