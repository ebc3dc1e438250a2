"""`python -m hwfit COMMAND`: what the workflow's rules and the Makefile call in the control wing."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

from hwfit.commands import COMMANDS
from hwfit.comparison_options import DIFFERENCE, QUALITY_TOLERANCE
from hwfit.process import deny_others, end_with_snakemake


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hwfit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    plan = commands.add_parser("plan", help="write down every combination of a study")
    plan.add_argument("--study", required=True, help="JSON: the resolved config")
    plan.add_argument("--sites", type=Path, nargs="*", default=[], help="what `import` wrote of each")
    plan.add_argument("--output", type=Path, required=True)

    dataset = commands.add_parser("dataset", help="write a data set of real inputs")
    dataset.add_argument("name", nargs="?", help="one that hwfit knows")
    dataset.add_argument("--own", help="JSON: a user's data, see hwfit.own_data")
    dataset.add_argument("--output", type=Path, required=True)

    nominate = commands.add_parser("nominate", help="name what fresh rounds should measure again")
    nominate.add_argument("--plan", type=Path, required=True)
    nominate.add_argument("--first-looks", type=Path, required=True, help="where to say what was read")
    nominate.add_argument("--output", type=Path, required=True)

    confirm = commands.add_parser("confirm", help="measure a device's contenders in fresh rounds")
    confirm.add_argument("--plan", type=Path, required=True)
    confirm.add_argument("--contenders", type=Path, required=True)
    confirm.add_argument("--device", required=True)
    confirm.add_argument("--output", type=Path, required=True)

    judge = commands.add_parser("judge", help="say which runs of training go on after a rung")
    judge.add_argument("--plan", type=Path, required=True)
    for name in ("device", "runtime", "model"):
        judge.add_argument(f"--{name}", required=True)
    judge.add_argument("--rung", type=int, required=True)
    judge.add_argument("--output", type=Path, required=True)

    train = commands.add_parser("collect-training", help="collect the records of training")
    train.add_argument("--plan", type=Path, required=True)
    train.add_argument("--output", type=Path, required=True)

    decide = commands.add_parser("decide", help="collect the records and decide")
    decide.add_argument("--training", type=Path, help="reports/training.csv, where something was trained")
    decide.add_argument("--configurations", type=Path, help="where its configurations go")
    decide.add_argument("--plan", type=Path, required=True)
    decide.add_argument("--table", type=Path, required=True)
    decide.add_argument("--recommendation", type=Path, required=True)

    archive = commands.add_parser("archive", help="put every record and its samples into one file")
    archive.add_argument("--plan", type=Path, required=True)
    archive.add_argument("--output", type=Path, required=True)

    export = commands.add_parser("export", help="pack what this site has measured, for another one")
    export.add_argument("--plan", type=Path, default=Path("results/plan.json"))
    export.add_argument("--to", type=Path, help="the file; reports/export-<site>.zip where absent")
    export.add_argument("--artifacts", action="store_true", help="with weights and evaluation sets")

    site = commands.add_parser("import", help="lay the records of another site's export beside one's own")
    take = commands.add_parser("take", help="take a model or an artifact from an export")
    for command in (site, take):
        command.add_argument("--export", type=Path, required=True)
    take.add_argument("--artifact", required=True, help="its folder below results/")

    report = commands.add_parser("report", help="write the report")
    track = commands.add_parser("track", help="log the sweep to MLflow")
    for command in (report, track):
        command.add_argument("--plan", type=Path, required=True)
        command.add_argument("--table", type=Path, required=True)
        command.add_argument("--recommendation", type=Path, required=True)
        command.add_argument("--output", type=Path, required=True)
    report.add_argument("--measurements", type=Path, help="the archive that the report points to")
    report.add_argument("--training", type=Path, help="reports/training.csv, where something was trained")
    report.add_argument("--configurations", type=Path, help="what the decision made of it")
    report.add_argument("--language", default="en", choices=("en", "zh"))
    track.add_argument("--report", type=Path, required=True)
    track.add_argument("--training", type=Path, help="reports/training.csv, where something was trained")
    track.add_argument("--configurations", type=Path, help="what the decision made of it")

    register = commands.add_parser("register", help="register what was chosen with MLflow")
    register.add_argument("--plan", type=Path, required=True)
    register.add_argument("--recommendation", type=Path, required=True)
    register.add_argument("--output", type=Path, required=True)

    pipeline = commands.add_parser("pipeline", help="say whether to cut a model in two, from layer times")
    pipeline.add_argument("--plan", type=Path, default=Path("results/plan.json"))
    pipeline.add_argument("--model", required=True)
    pipeline.add_argument("--devices", nargs=2, required=True, help="two that run torch, of this study")
    pipeline.add_argument("--batch-size", type=int, default=1)
    pipeline.add_argument("--seconds", type=float, default=3.0, help="of timed calls on each device")
    pipeline.add_argument("--run", action="store_true", help="run the best cut too")
    pipeline.add_argument("--output", type=Path, help="stdout where absent")

    compare = commands.add_parser(
        "compare", help="say what is worse than in another run; exit status 1 where something is"
    )
    compare.add_argument(
        "--against", default="", help="a directory in which a study was run, or mlflow:<sweep or run id>"
    )
    compare.add_argument("--here", default=".", help="the run that is judged, named in the same way")
    compare.add_argument(
        "--difference",
        type=positive,
        default=DIFFERENCE,
        help="for which to tell the rounds it takes",
    )
    compare.add_argument(
        "--quality-tolerance", type=share, default=QUALITY_TOLERANCE, help="of accuracy or fidelity, absolute"
    )
    compare.add_argument("--output", type=Path, default=Path("reports/comparison.json"))
    compare.add_argument("--csv", type=Path, default=Path("reports/comparison.csv"))

    commands.add_parser("watch", help="follow training in MLflow, on a host that does not measure")
    commands.add_parser("show", help="print the recommendation")
    commands.add_parser("retry", help="forget what may go away by itself, so that the next run tries again")

    ui = commands.add_parser("ui", help="open the MLflow UI on what was logged")
    ui.add_argument("--host", default="127.0.0.1")
    ui.add_argument("--port", type=int, default=5000)

    asked = parser.parse_args(arguments)
    deny_others()
    end_with_snakemake()
    return COMMANDS[asked.command](asked)


def positive(text: str) -> float:
    """A finite number above 0."""
    return checked(text, lambda value: 0 < value < math.inf, "a number above 0, such as 0.05 for 5%")


def share(text: str) -> float:
    """A number from 0 to 1."""
    return checked(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def checked(text: str, is_allowed: Callable[[float], bool], allowed: str) -> float:
    """A number of the command line. Raises ArgumentTypeError where it is not one that is allowed."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_allowed(value):
        raise argparse.ArgumentTypeError(f"is {text!r}; allowed: {allowed}")
    return value


if __name__ == "__main__":
    sys.exit(main())
