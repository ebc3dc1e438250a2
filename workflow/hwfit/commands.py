"""What each command of `python -m hwfit` does, by its name in `COMMANDS`; each returns the exit status.

What a command needs is imported when it runs: a rule that writes a data set should not wait for MLflow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hwfit.records import RecordError, read_json, write_bytes, write_json, write_record


def run_plan(asked: argparse.Namespace) -> int:
    from hwfit.config import Study
    from hwfit.matrix import Plan

    plan = Plan(Study.model_validate_json(asked.study))
    data = plan.to_dict()
    if asked.sites:
        from hwfit.layout import RESULTS
        from hwfit.sites.merge import merged

        made = {Path(card).parent.relative_to(RESULTS).as_posix(): card for card in plan.subject_cards}
        cards = {place: read_json(card) for place, card in made.items()}
        data = merged(data, [read_json(path) for path in asked.sites], cards)
    write_json(asked.output, data)
    return 0


def run_export(asked: argparse.Namespace) -> int:
    from hwfit.sites.read import ExportError
    from hwfit.sites.write import write_export

    try:
        plan = read_json(asked.plan)
        output = asked.to or Path(f"reports/export-{plan['study']['config'].get('site')}.zip")
        count = write_export(plan, output, asked.artifacts)
    except (ExportError, RecordError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(f"{output}: {count} records{' with their artifacts' if asked.artifacts else ''}")
    return 0


def run_import(asked: argparse.Namespace) -> int:
    from hwfit.sites.lay import import_site
    from hwfit.sites.read import ExportError

    try:
        found = import_site(asked.export)
    except (ExportError, OSError) as error:
        print(f"{asked.export}: {error}", file=sys.stderr)
        return 1
    print(f"{found['site']}: {len(found['protocols'])} of {len(found['combinations'])} combinations measured")
    return 0


def run_take(asked: argparse.Namespace) -> int:
    from hwfit.sites.lay import take_artifact
    from hwfit.sites.read import ExportError

    try:
        take_artifact(asked.export, asked.artifact)
    except (ExportError, OSError) as error:
        print(f"{asked.export}: {error}", file=sys.stderr)
        return 1
    return 0


def run_dataset(asked: argparse.Namespace) -> int:
    from hwfit.data import DataError, write_absence, write_dataset
    from hwfit.own_data import write_own_data

    if os.environ.get("HWFIT_RECORDED"):
        command = [sys.executable, "-m", "hwfit.worker", "recall", "--output", str(asked.output)]
        return subprocess.call(command)
    try:
        if asked.own:
            write_own_data(json.loads(asked.own), asked.output)
        else:
            write_dataset(asked.name, asked.output)
    except DataError as error:
        # The models that need it become rows; the others are measured.
        print(error, file=sys.stderr)
        write_absence(asked.output, str(error))
    return 0


def run_nominate(asked: argparse.Namespace) -> int:
    from hwfit.collect import fingerprint_of, read_inventories, read_rows
    from hwfit.recommendation import nominate

    plan = read_json(asked.plan)
    rows = read_rows(plan, first_looks_only=True)
    write_json(asked.output, nominate(rows, plan, read_inventories(plan)))
    write_json(asked.first_looks, {"rows": len(rows), "fingerprint": fingerprint_of(rows)})
    return 0


def run_confirm(asked: argparse.Namespace) -> int:
    from hwfit.config import Study
    from hwfit.confirm import confirm
    from hwfit.matrix import Plan

    merged = read_json(asked.plan)
    plan = Plan(Study.model_validate(merged["study"]))
    named = read_json(asked.contenders)
    others = [entry for device, entries in named.items() if device != asked.device for entry in entries]
    found = confirm(plan, named.get(asked.device, []), others, merged=merged)
    write_record(asked.output, {"device": asked.device, "contenders": found})
    return 0


def run_pipeline(asked: argparse.Namespace) -> int:
    import json

    from hwfit.config import Study
    from hwfit.matrix import Plan
    from hwfit.pipeline_trial import PipelineError, measure_and_judge

    plan = Plan(Study.model_validate(read_json(asked.plan)["study"]))
    try:
        found = measure_and_judge(
            plan, asked.model, asked.devices, asked.batch_size, asked.seconds, asked.run
        )
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    if asked.output:
        write_json(asked.output, found)
    else:
        json.dump(found, sys.stdout, indent=2)
    return 0


def run_judge(asked: argparse.Namespace) -> int:
    from hwfit.training.collect import judge_rung

    group = (asked.device, asked.runtime, asked.model)
    write_record(asked.output, judge_rung(read_json(asked.plan), group, asked.rung))
    return 0


def run_choose_round(asked: argparse.Namespace) -> int:
    from hwfit.search.rounds import choose_round

    verdict = choose_round(read_json(asked.plan), asked.round)
    write_record(asked.output, verdict.to_dict())
    left = sum(map(len, verdict.go_on.values()))
    print(f"{left} combinations go on, {len(verdict.given_up)} are given up")
    return 0


def run_collect_training(asked: argparse.Namespace) -> int:
    from hwfit.collect import cost_of, read_inventories, tariffs_of
    from hwfit.training.collect import read_training
    from hwfit.training.table import make_run_table

    plan = read_json(asked.plan)
    study = plan["study"]
    prices = tariffs_of(study), cost_of(study)
    table = make_run_table(read_training(plan), plan, read_inventories(plan), *prices)
    write_bytes(asked.output, table.to_csv(index=False).encode())
    return 0


def run_decide(asked: argparse.Namespace) -> int:
    from hwfit.collect import read_inventories, read_rows
    from hwfit.recommendation import recommend
    from hwfit.search.summary import describe_search

    plan = read_json(asked.plan)
    trained = []
    if asked.training:
        from hwfit.training.table import make_configuration_table, make_configurations, read_run_table

        trained = make_configurations(read_run_table(asked.training))
    rows, inventories, search = read_rows(plan), read_inventories(plan), describe_search(plan)
    table, recommendation = recommend(rows, plan, inventories, trained, search)
    if asked.configurations:
        configurations = make_configuration_table(trained)
        write_bytes(asked.configurations, configurations.to_csv(index=False).encode())
    write_bytes(asked.table, table.to_csv(index=False).encode())
    write_json(asked.recommendation, recommendation)
    return 0


def read_results(asked: argparse.Namespace) -> dict[str, Any]:
    """What MLflow is told."""
    import pandas as pd

    from hwfit.collect import read_inventories

    plan = read_json(asked.plan)
    return {
        "plan": plan["study"] | {"combinations": plan["combinations"]},
        "table": pd.read_csv(asked.table, keep_default_na=False, na_values=[""]),
        "inventories": read_inventories(plan),
    }


def run_archive(asked: argparse.Namespace) -> int:
    from hwfit.archive import write_archive

    print(f"{write_archive(read_json(asked.plan), asked.output)} records")
    return 0


def run_report(asked: argparse.Namespace) -> int:
    from hwfit.report import write_report
    from hwfit.report.inputs import read_inputs

    found = read_inputs(
        asked.plan,
        asked.table,
        asked.recommendation,
        training_file=asked.training,
        configurations_file=asked.configurations,
    )
    for problem in found["problems"]:
        print(problem, file=sys.stderr)
    beside = [
        path.name
        for path in (
            asked.table,
            asked.training,
            asked.configurations,
            asked.recommendation,
            asked.measurements,
        )
        if path and path.parent.resolve() == asked.output.parent.resolve()
    ]
    write_report(path=asked.output, language=asked.language, downloads=beside, **found)
    return 0


def run_track(asked: argparse.Namespace) -> int:
    from hwfit.config import Study
    from hwfit.layout import PROFILES
    from hwfit.matrix import Plan
    from hwfit.tracking import TrackingError, find_page, log_sweep, log_training
    from hwfit.training.table import read_run_table

    results = read_results(asked)
    planned = Plan(Study.model_validate(read_json(asked.plan)["study"]))
    place = tracked(results["plan"]["config"])
    try:
        counts = log_sweep(
            **place,
            profiles=Path(PROFILES),
            artifacts=[
                path
                for path in (
                    asked.table,
                    asked.training,
                    asked.configurations,
                    asked.recommendation,
                    asked.report,
                )
                if path
            ],
            recommendation=read_json(asked.recommendation),
            weights={cell: planned.weights_directory(cell) for cell in planned.cells},
            **results,
        )
        if asked.training:
            trained = log_training(**place, runs=read_run_table(asked.training))
            counts |= {f"training_{name}": count for name, count in trained.items()}
        page = find_page(**place)
    except TrackingError as error:
        print(error, file=sys.stderr)
        return 1
    write_json(asked.output, {**counts, "page": page})
    return 0


def run_watch(asked: argparse.Namespace) -> int:
    from hwfit.tracking import TrackingError, watch

    try:
        plan = read_json("results/plan.json")
        watch(**tracked(plan["study"]["config"]), plan=plan)
    except RecordError as error:
        print(f"There is nothing to watch yet ({error}): begin with `make run`.", file=sys.stderr)
        return 1
    except TrackingError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def run_register(asked: argparse.Namespace) -> int:
    from hwfit.tracking import TrackingError, register_chosen

    plan = read_json(asked.plan)
    try:
        registered = register_chosen(
            **tracked(plan["study"]["config"]), plan=plan, recommendation=read_json(asked.recommendation)
        )
    except TrackingError as error:
        print(error, file=sys.stderr)
        return 1
    for line in registered:
        print(line["said"])
    write_json(asked.output, {"registered": registered})
    return 0


def run_compare(asked: argparse.Namespace) -> int:
    """0: nothing is worse; 1: something is; 2: there is nothing to compare."""
    from hwfit.compare import compare
    from hwfit.comparison_report import describe, summary, to_csv
    from hwfit.kept_runs import RunError, read_run

    try:
        tracking = read_json("results/plan.json")["study"]["config"]["tracking"]
    except RecordError:
        tracking = {"uri": "sqlite:///results/mlflow.db", "experiment": "hwfit"}
    store = (tracking_uri(tracking["uri"]), tracking["experiment"])
    try:
        there, here = read_run(asked.against, *store), read_run(asked.here, *store)
    except RunError as error:
        print(error, file=sys.stderr)
        return 2
    found = describe(compare(here, there, asked.quality_tolerance), here, there, asked.difference)
    write_json(asked.output, found)
    write_bytes(asked.csv, to_csv(found).encode())
    print(f"{summary(found)}\n\nEvery combination: {asked.csv}, {asked.output}")
    return 1 if found["counts"]["worse"] else 0


def run_show(asked: argparse.Namespace) -> int:
    try:
        recommendation = read_json("reports/recommendation.json")
    except RecordError as error:
        print(f"No recommendation yet ({error}): run `make run` first.", file=sys.stderr)
        return 1
    counts = dict(recommendation["counts"])
    total = counts.pop("combinations")
    print(f"\n{total} combinations: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    for kind in ("models", "training", "training_and_inference"):
        for answer in recommendation.get(kind, []):
            print(f"\n  {answer['summary']}")
    print("\nReport: reports/hardware-selection.html, table: reports/combinations.csv, MLflow: make ui")
    return 0


def run_retry(asked: argparse.Namespace) -> int:
    from hwfit.collect import forget_transient
    from hwfit.directory_lock import Held, require_alone
    from hwfit.training.collect import forget_training

    try:
        require_alone()
    except Held as error:
        print(error, file=sys.stderr)
        return 1
    trained = forget_training(Path())
    if trained:
        # Snakemake does not ask for what is missing while everything made from it is there.
        Path("reports/training.csv").unlink(missing_ok=True)
    for path in [*trained, *forget_transient(Path())]:
        print(f"forgotten: {path}")
    return 0


def run_ui(asked: argparse.Namespace) -> int:
    from hwfit.tracking import serve

    try:
        configured = read_json("results/plan.json")["study"]["config"]["tracking"]["uri"]
    except RecordError:
        configured = "sqlite:///results/mlflow.db"
    try:
        page = read_json("results/tracking.json").get("page", "")
    except RecordError:
        page = ""
    return serve(tracking_uri(configured), asked.host, asked.port, page)


def tracked(config: dict[str, Any]) -> dict[str, Any]:
    """Where a sweep is in MLflow, by its config."""
    from hwfit.tracking import project_id

    return {
        "uri": tracking_uri(config["tracking"]["uri"]),
        "experiment": config["tracking"]["experiment"],
        "sweep": config["sweep"],
        "project": project_id(Path("results/project")),
    }


def tracking_uri(default: str) -> str:
    """Where to log: MLflow's own variable, else the config's URI as the Snakefile handed it on."""
    return os.environ.get("MLFLOW_TRACKING_URI") or os.environ.get("HWFIT_TRACKING_URI") or default


COMMANDS = {
    "plan": run_plan,
    "dataset": run_dataset,
    "nominate": run_nominate,
    "confirm": run_confirm,
    "judge": run_judge,
    "choose-round": run_choose_round,
    "collect-training": run_collect_training,
    "decide": run_decide,
    "archive": run_archive,
    "export": run_export,
    "import": run_import,
    "take": run_take,
    "pipeline": run_pipeline,
    "compare": run_compare,
    "report": run_report,
    "track": run_track,
    "register": run_register,
    "watch": run_watch,
    "show": run_show,
    "retry": run_retry,
    "ui": run_ui,
}
