"""What the MLflow UI shows of a sweep: a table with the columns that matter, curves over batch size, notes.

The UI keeps a view (columns, order, filter, charts) in an experiment's tag `mlflow.sharedViewState.<key>`,
and opens it at `#/experiments/<id>/runs?viewStateShareKey=<key>`. The tag's content is no public interface:
read in the UI's source of MLflow 3.17, which envs/control.txt pins, and tried in a browser by the tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from hwfit.records import fingerprint
from hwfit.tracking.store import Store, one_message, quoted, sweep_query

VIEW = "mlflow.sharedViewState."
NOTE = "mlflow.note.content"
# The fingerprint of the experiment's note as hwfit wrote it.
OURS = "hwfit.note"
# MLflow takes 8,000 characters in a run's tag and 20,000 in an experiment's.
MAX_ANSWER, MAX_EXPERIMENT_NOTE = 7000, 19000
# Which tabs the UI shows; it guesses where it is not told.
KIND = "mlflow.experimentKind"
RUN_NAME = "attributes.`Run Name`"
ORDER = "metrics.`throughput_samples_per_s`"
COLUMNS = (
    "tags.`model`",
    "tags.`device`",
    "tags.`runtime`",
    "tags.`optimization`",
    "params.`batch_size`",
    "tags.`status`",
    "tags.`verdict`",
    "metrics.`throughput_samples_per_s`",
    "metrics.`latency_p50_ms`",
    "metrics.`latency_p90_ms`",
    "metrics.`accuracy`",
    "metrics.`fidelity`",
    "metrics.`peak_memory_mb`",
    "metrics.`cost_per_million`",
    "metrics.`energy_j_per_sample`",
    "tags.`energy_scope`",
    "tags.`reason`",
    "tags.`scenario`",
    "tags.`chosen`",
    "tags.`valid`",
    "attributes.`Dataset`",
    "attributes.`Models`",
)
WIDTHS = {
    RUN_NAME: 350,
    "tags.`model`": 150,
    "tags.`runtime`": 115,
    "tags.`optimization`": 150,
    "metrics.`throughput_samples_per_s`": 190,
    "metrics.`latency_p50_ms`": 130,
    "metrics.`latency_p90_ms`": 130,
    "metrics.`peak_memory_mb`": 140,
    "metrics.`cost_per_million`": 180,
    "metrics.`energy_j_per_sample`": 170,
    "tags.`reason`": 480,
    "tags.`scenario`": 125,
    "attributes.`Dataset`": 260,
    "attributes.`Models`": 200,
}
CURVES_SECTION = "Over batch size (the step)"
# Drawn over batch size: the metric, its axis.
CURVES = {
    "throughput_samples_per_s": "log",
    "latency_p50_ms": "log",
    "latency_p90_ms": "log",
    "peak_memory_mb": "linear",
    "energy_j_per_sample": "log",
    "cost_per_million": "log",
    "fidelity": "linear",
    "utilization": "linear",
}
TRAINING_SECTION = "Over epochs (the step)"
TRAINING_CURVES = {"validation_accuracy": "linear", "loss": "log", "validation_loss": "log"}
TRAINING_COLUMNS = (
    *(f"tags.`{name}`" for name in ("model", "device", "runtime", "optimizer")),
    *(f"params.`{name}`" for name in ("learning_rate", "batch_size", "seed")),
    *(f"tags.`{name}`" for name in ("status", "reached", "stopped")),
    *(
        f"metrics.`{name}`"
        for name in ("seconds_to_target", "epochs_to_target", "best_validation_accuracy", "samples_per_s")
    ),
    "tags.`reason`",
)
HOW_TO_READ = (
    "Each run is one combination, with its profiles as artifacts. Filter by tags: `tags.model`, "
    "`tags.device`, `tags.runtime`, `tags.optimization`, `tags.status`, `tags.valid`, `tags.chosen`, "
    "`tags.verdict`. `chosen` meets every limit and is best; `tied` cannot be told from it; `dominated` is "
    "slower or dearer; `rejected` breaks a limit; `unproven` is not proven to meet them; `not_measured` has "
    "a status that says why. A value that was not measured is absent, never 0. The step of a metric is the "
    "batch size."
)


def write_views(
    store: Store, parent: str, sweep: str, table: pd.DataFrame, recommendation: Mapping[str, Any]
) -> None:
    """Write the views of a sweep, its note, and with those of the others the experiment's."""
    models = list(dict.fromkeys(table.loc[table["status"] == "ok", "model"]))
    views = {VIEW + table_key(parent): table_view(parent)}
    views |= {VIEW + curves_key(parent, model): curves_view(parent, model) for model in models}
    trains = bool(recommendation.get("training"))
    if trains:
        views[VIEW + training_key(parent)] = training_view(parent)
    curves = [
        f"[{model}]({page(store.experiment_id, curves_key(parent, model), 'CHART')})" for model in models
    ]
    # The UI folds an experiment's note to its first line.
    links = f"[all combinations]({page(store.experiment_id, table_key(parent))})"
    links += f"; over batch size: {', '.join(curves)}" if curves else ""
    if trains:
        links += f"; [training]({page(store.experiment_id, training_key(parent), 'CHART')})"
    answer = f"**Sweep {sweep}**: {links}\n\n{answers(recommendation)}"[:MAX_ANSWER]
    store.client.set_tag(parent, NOTE, f"{answer}\n\n{HOW_TO_READ}")
    store.set_experiment_tags({name: json.dumps(view) for name, view in views.items()})
    if KIND not in store.experiment_tags:
        store.set_experiment_tags({KIND: "custom_model_development"})
    write_experiment_note(store)


def write_experiment_note(store: Store) -> None:
    """Tell the answers of all sweeps above the experiment's runs; what a person wrote there stays."""
    notes = [run.data.tags.get(NOTE, "") for run in store.runs("tags.`hwfit.kind` = 'sweep'")]
    whole = "\n\n".join([*(note.removesuffix(HOW_TO_READ).strip() for note in notes), HOW_TO_READ])
    whole = whole[:MAX_EXPERIMENT_NOTE]
    known = store.experiment_tags.get(NOTE)
    if not known or store.experiment_tags.get(OURS) == fingerprint(known):
        store.set_experiment_tags({NOTE: whole, OURS: fingerprint(whole)})


def find_page(uri: str, experiment: str, sweep: str, project: str) -> str:
    """The page of the UI with a sweep's table, from `#/` on.

    Raises
    ------
    TrackingError
    """
    with one_message(uri, "Is it running?"):
        store = Store(uri, experiment)
        found = store.client.search_runs([store.experiment_id], sweep_query(sweep, project), max_results=1)
        return page(store.experiment_id, table_key(found[0].info.run_id) if found else "")


def page(experiment_id: str, key: str, mode: str = "TABLE") -> str:
    """The page of the UI with a view: its table, or with the mode CHART its charts."""
    view = f"?viewStateShareKey={key}&compareRunsMode={mode}&workflowType=machine_learning" if key else ""
    return f"#/experiments/{experiment_id}/runs{view}"


def table_key(parent: str) -> str:
    """Names the view of a sweep's combinations."""
    return f"hwfit-{parent}"


def curves_key(parent: str, model: str) -> str:
    """Names the view of a model's curves."""
    return f"hwfit-{parent}-{fingerprint(model)}"


def table_view(parent: str) -> dict[str, Any]:
    """Every combination of the matrix, the fastest first."""
    return view_of(parent)


def curves_view(parent: str, model: str) -> dict[str, Any]:
    """A model's combinations that were measured, those of a cell as one line over batch size.

    A run is one combination, and has one value a metric: it is the group of a cell's runs that makes a line.
    """
    # The last two are what the UI makes of the other metrics.
    sections = {CURVES_SECTION: True, "Model metrics": False, "System metrics": False}
    return view_of(parent, f"tags.`model` = {quoted(model)} and tags.`status` = 'ok'") | {
        "runsHiddenMode": "FIRST_20_RUNS",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "cell"}]},
        "isAccordionReordered": True,
        "compareRunSections": sections_of(sections),
        "compareRunCharts": [curve(metric, axis) for metric, axis in CURVES.items()],
    }


def training_key(parent: str) -> str:
    """Names the view of a sweep's runs of training."""
    return f"hwfit-{parent}-training"


def training_view(parent: str) -> dict[str, Any]:
    """Every run of training, the soonest at the target first, with its curves over the epochs."""
    sections = {TRAINING_SECTION: True, "Model metrics": False, "System metrics": False}
    runs = f"tags.`mlflow.parentRunId` = {quoted(parent)} and tags.`hwfit.kind` = 'training'"
    charts = [curve(metric, axis, TRAINING_SECTION, "linear") for metric, axis in TRAINING_CURVES.items()]
    return view_of(parent) | {
        "searchFilter": runs,
        "orderByKey": "metrics.`seconds_to_target`",
        "orderByAsc": True,
        "selectedColumns": list(TRAINING_COLUMNS),
        "columnOrder": [RUN_NAME, *TRAINING_COLUMNS],
        "runsHiddenMode": "FIRST_20_RUNS",
        "isAccordionReordered": True,
        "compareRunSections": sections_of(sections),
        "compareRunCharts": charts,
    }


def sections_of(sections: Mapping[str, bool]) -> list[dict[str, Any]]:
    """Sections of charts, each open or not."""
    return [
        {"uuid": name, "name": name, "display": is_open, "isReordered": False}
        | {"deleted": False, "isGenerated": False}
        for name, is_open in sections.items()
    ]


def view_of(parent: str, more: str = "") -> dict[str, Any]:
    """What the views have in common: which runs, in which order, with which columns."""
    runs = f"tags.`mlflow.parentRunId` = {quoted(parent)} and tags.`hwfit.in_matrix` = 'true'"
    return {
        "searchFilter": f"{runs} and {more}" if more else runs,
        "orderByKey": ORDER,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(COLUMNS),
        "columnOrder": [RUN_NAME, *COLUMNS],
        "columnWidths": WIDTHS,
        "hideEmptyCharts": True,
    }


def curve(metric: str, axis: str, section: str = CURVES_SECTION, over: str = "log") -> dict[str, Any]:
    """A chart of a metric over its step, on the axes `axis` and `over`."""
    return {
        "uuid": f"curve-{metric}",
        "type": "LINE",
        "deleted": False,
        "isGenerated": False,
        "metricSectionId": section,
        "runsCountToCompare": 20,
        "displayName": metric,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "xAxisKey": "step",
        "xAxisScaleType": over,
        "scaleType": axis,
        "range": {},
        "selectedXAxisMetricKey": "",
        "displayPoints": True,
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
    }


def answers(recommendation: Mapping[str, Any]) -> str:
    """The answer for each model, a sentence a line."""
    entries = [
        entry
        for key in ("models", "training", "training_and_inference")
        for entry in recommendation.get(key, [])
    ]
    told = [entry["summary"] for entry in entries if entry.get("summary")]
    return "\n".join(f"- {sentence}" for sentence in told)
