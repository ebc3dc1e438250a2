"""Reading a run that is kept: from a project's directory, or from MLflow.

Comparing takes rounds, which a table does not have. MLflow has them: each combination's run holds the
profiles of all its rounds (`tracking`), which are brought to a folder of the form that a project has, and
read like one.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwfit.collect import CONFIRMATIONS, TABLE, read_inventories, read_rows
from hwfit.compare import Run
from hwfit.config_errors import mask_credentials
from hwfit.layout import PROFILES, RESULTS
from hwfit.records import Cell, RecordError, read_json, write_json
from hwfit.tracking.store import SQLITE, text
from hwfit.tracking.sweep import flattened

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

PLAN = f"{RESULTS}/plan.json"
RECOMMENDATION = "reports/recommendation.json"
IN_MLFLOW = "mlflow:"
# What names a combination's run: see `tracking.sweep.key_of`.
KEY = re.compile(
    "/".join(f"(?P<{name}>[^/]+)" for name in ("device", "runtime", "model", "optimization", "scenario"))
    + r"/bs(?P<batch_size>\d+)"
)


class RunError(Exception):
    """A run that cannot be read: the message says where it was looked for, and what to do."""


def read_run(place: str, uri: str, experiment: str) -> Run:
    """A run with its rows.

    Parameters
    ----------
    place : a project's directory, or `mlflow:` with the name of a sweep or the id of its run
    uri, experiment : where MLflow keeps what was logged

    Raises
    ------
    RunError
    """
    if not place:
        raise RunError(
            "compare: nothing to compare with; name a directory in which a study was run, or a sweep in "
            "MLflow: `snakemake --cores 1 compare --config against=../before` or `against=mlflow:default`"
        )
    if place.startswith(IN_MLFLOW):
        return read_from_mlflow(place.removeprefix(IN_MLFLOW), uri, experiment)
    return read_directory(Path(place))


def read_directory(directory: Path, name: str = "") -> Run:
    """The run of a project in its directory, or in the folder `results` of it."""
    shown = name or str(directory)
    if directory.name == RESULTS and (directory / "plan.json").is_file():
        directory = directory.parent
    if not (directory / PLAN).is_file():
        raise RunError(f"{shown}: {missing(directory)}")
    try:
        plan = read_json(directory / PLAN)
        return Run(
            shown,
            read_rows(plan, directory),
            read_inventories(plan, directory),
            as_logged(plan["study"]["config"]["measurement"]),
            version_of(directory / RECOMMENDATION),
        )
    except (RecordError, KeyError, TypeError) as error:
        raise RunError(f"{directory / PLAN}: not a plan that this hwfit can read: {error}") from None


def missing(directory: Path) -> str:
    """Why a directory is no run, and what to do."""
    tables = [directory / TABLE, directory / Path(TABLE).name, directory]
    if any(path.suffix == ".csv" and path.is_file() for path in tables):
        return (
            "a table without its rounds, which comparing takes. Name the directory of the run, with "
            f"{PLAN} and {PROFILES}, or a sweep in MLflow (mlflow:default), which keeps them"
        )
    if not directory.is_dir():
        return f"not a directory. Name one with {PLAN} in it, or a sweep in MLflow: mlflow:default"
    return f"has no {PLAN}: no study was run there. `snakemake --cores all` runs it"


def version_of(recommendation: Path) -> str | None:
    """The hwfit that decided a run; None where it is not told."""
    try:
        return read_json(recommendation).get("hwfit_version")
    except (RecordError, AttributeError):
        return None


def read_from_mlflow(name: str, uri: str, experiment: str) -> Run:
    """The run of a sweep from the profiles that were logged with it."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    shown = f"MLflow at {mask_credentials(uri)}"
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise RunError(f"{shown}: not there. Nothing was logged yet: `snakemake --cores 1 track` does it")
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            raise RunError(f"{shown}: has no experiment {experiment!r} (tracking.experiment in the config)")
        store = LoggedRuns(client, found.experiment_id, uri)
        sweep = store.sweep(name, f"{shown}, experiment {experiment!r}")
        with tempfile.TemporaryDirectory() as directory:
            return store.bring(sweep, Path(directory), f"{IN_MLFLOW}{name}")
    except (MlflowException, OSError) as error:
        said = (mask_credentials(str(error)).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{shown}: {said}") from None


class LoggedRuns:
    """What an experiment holds, read only."""

    def __init__(self, client: MlflowClient, experiment_id: str, uri: str) -> None:
        self.client = client
        self.experiment_id = experiment_id
        # With SQLite the artifacts lie beside the database, as `tracking` puts them.
        self.root = Path(uri.removeprefix(SQLITE)).parent / "mlartifacts" if uri.startswith(SQLITE) else None

    def search(self, query: str) -> Iterable[MlflowRun]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def sweep(self, name: str, place: str) -> MlflowRun:
        """The run of a sweep, by the sweep's name or the run's id. Raises RunError where it is not one."""
        sweeps = list(self.search("tags.`hwfit.kind` = 'sweep'"))
        found = [s for s in sweeps if name in (s.info.run_id, s.data.tags.get("hwfit.sweep"))]
        if len(found) == 1:
            return found[0]
        of_all = found or sweeps
        named = ", ".join(f"{s.data.tags.get('hwfit.sweep')} ({s.info.run_id})" for s in of_all[:10])
        if found:
            raise RunError(f"{place}: {len(found)} projects have a sweep {name!r}; name the run: {named}")
        raise RunError(f"{place}: no sweep {name!r}; there are: {named or 'none'}")

    def bring(self, sweep: MlflowRun, directory: Path, name: str) -> Run:
        """Lay a sweep's records down as a project has them, and read them."""
        settings = settings_of(sweep)
        first_rounds = int(settings.get("rounds", 1))
        mine = f"tags.`mlflow.parentRunId` = '{sweep.info.run_id}'"
        children = list(self.search(f"{mine} and tags.`hwfit.kind` = 'combination'"))
        children = [run for run in children if run.data.tags.get("hwfit.in_matrix") != "false"]
        # One that is still running was cut short: see `tracking.sweep`.
        logged = [run for run in children if run.info.status != "RUNNING"]
        combinations, contenders = [], []
        for run in logged:
            tags = run.data.tags
            key = KEY.fullmatch(tags.get("hwfit.key", ""))
            if key is None or ".." in key.groups():
                continue
            cell = Cell(**{field: key[field] for field in Cell.__dataclass_fields__})
            batch_size, folder = int(key["batch_size"]), directory / PROFILES / cell.path
            self.fetch(run.info.run_id, "", folder)
            rounds = sorted(int(p.parent.name[5:]) for p in folder.glob(f"round*/bs{batch_size}.json"))
            # Where nothing was measured the tags say why.
            is_measured = rounds or tags.get("status") == "ok"
            why = {name: "" if is_measured else tags.get(name, "") for name in ("status", "reason")}
            combinations.append(cell.__dict__ | {"batch_size": batch_size} | why)
            named = re.findall(r"\d+", tags.get("hwfit.confirming", ""))
            if again := [round for round in rounds if str(round) in named]:
                contenders.append({"cell": cell.__dict__, "batch_size": batch_size, "rounds": again})
        self.fetch(sweep.info.run_id, "devices", directory / RESULTS)
        self.fetch(sweep.info.run_id, Path(RECOMMENDATION).name, directory / "reports")
        write_json(directory / CONFIRMATIONS / "mlflow.json", {"contenders": contenders})
        plan = {"study": {"config": {"measurement": {"rounds": first_rounds}}}, "combinations": combinations}
        write_json(directory / PLAN, plan)
        unfinished = len(children) - len(logged)
        remark = f"the log of {unfinished} combinations is not finished: `snakemake --cores 1 track` does it"
        return replace(
            read_directory(directory, name), settings=settings, remarks=(remark,) if unfinished else ()
        )

    def fetch(self, run_id: str, path: str, folder: Path) -> None:
        """Copy what a run has at a path, or all that it has, to the same path below a folder; nothing where
        it has nothing there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.root is None:
            if not path or path in [entry.path for entry in self.client.list_artifacts(run_id)]:
                self.client.download_artifacts(run_id, path, str(folder))
            return
        source = self.root / run_id / "artifacts" / path
        if source.is_dir():
            shutil.copytree(source, folder / path, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy(source, folder / path)


def settings_of(sweep: MlflowRun) -> dict[str, str]:
    """`measurement` of a sweep's config, as its run has it; a tag has what changed since a first log."""
    found = {}
    for prefix, told in (("measurement.", sweep.data.params), ("config.measurement.", sweep.data.tags)):
        for name, value in told.items():
            if name.startswith(prefix):
                found[name.removeprefix(prefix)] = value
    return found


def as_logged(settings: Mapping[str, Any]) -> dict[str, str]:
    """`measurement` of a plan as MLflow would have it, so that the two can be compared."""
    return {name: text(value) for name, value in flattened(settings)}
