"""Recorded results in place of work: a sweep without its hardware, in no time or in the time that it took.

`HWFIT_RECORDED` names a directory with the layout of a run's `results/`. What a command of this wing would
make is then copied from there; and in place of a worker that measures one is started that says the same,
waits as long as the recorded one took, times `HWFIT_RECORDED_PACE` (1 where absent, 0: not at all), and
writes what was recorded with the fingerprints of its own job. Supervisor, locks, attempts, rounds and
everything after them are those of any run. What is so made carries the flag `recorded`, and is another
context: a run that measures does not take it for its own.
"""

from __future__ import annotations

import io
import json
import math
import os
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hwfit.records import (
    Flag,
    Profile,
    RecordError,
    bytes_sha256,
    fingerprint,
    profile_path,
    read_json,
    read_profile,
    write_bytes,
    write_record,
)

if TYPE_CHECKING:
    from hwfit.worker.job import Job
    from hwfit.worker.training.job import TrainingJob

DIRECTORY = "HWFIT_RECORDED"
PACE = "HWFIT_RECORDED_PACE"
RESULTS = "results"
# Commands that copy what they would make.
COPIED = ("probe", "environment", "inventory", "unite", "prepare", "compress", "export", "quantize", "recall")
# By how much (standard deviation, relative) a round that was not recorded differs from the one it repeats.
NOISE = 0.01
# What a slower process has more of, and what less.
TIMES = (
    "latency_p50_ms",
    "latency_p50_ci_low_ms",
    "latency_p50_ci_high_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "time_to_first_token_ms",
    "time_per_output_token_ms",
    "measured_s",
)
RATES = ("throughput_samples_per_s", "prefill_tokens_per_s", "decode_tokens_per_s")
# What a moment's look takes (see hwfit.worker.screen).
LOOK_SECONDS = 0.3
# Well below any limit on a worker's silence.
ALIVE_SECONDS = 1.0


def directory() -> Path | None:
    """Where the recorded results lie; None: everything is really done."""
    named = os.environ.get(DIRECTORY)
    return Path(named) if named else None


def flags() -> list[Flag]:
    """What a record says that was not measured here."""
    found = directory()
    return [Flag("recorded", f"recorded in {found}, not measured here")] if found else []


def context() -> dict[str, Any]:
    """What such a record has in its context."""
    return {"recorded": True} if directory() else {}


def pace() -> float:
    """Seconds to wait for each recorded second. Raises RecordError where it is no such number."""
    text = os.environ.get(PACE) or "1"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise RecordError(f"{PACE} is {text!r}; allowed: a number from 0, the seconds for a recorded one")
    return value


def copy(output: Path) -> int:
    """Put the recorded file, or the files of a recorded directory, where a command would write them.

    Returns 1, and says on stderr which is not there, where nothing is recorded.
    """
    place = Path(os.path.relpath(output))
    source = Path(str(directory()), *place.parts[1:])
    if place.parts[0] != RESULTS:
        print(
            f"{output}: not below {RESULTS}/, so nothing can be recorded of it ({DIRECTORY})", file=sys.stderr
        )
        return 1
    files = [source]
    if source.is_dir():
        # The card last: where it is, the rest is too.
        files = sorted(path for path in source.iterdir() if path.is_file() and path.name != "card.json")
        files.append(source / "card.json")
    if not files[-1].is_file():
        print(f"{files[-1]}: not recorded ({DIRECTORY} is {directory()})", file=sys.stderr)
        return 1
    for path in files:
        write_bytes(output / path.relative_to(source), path.read_bytes())
    if place.parent.name == "environments":
        # The recorded one may not be here, and none is needed.
        found = read_json(output)
        write_record(output, found | {"python": found.get("python") and sys.executable})
    return 0


def replay(told: Mapping[str, Any], events: TextIO) -> None:
    """Be the worker of a job, which measures or trains: say and write what was recorded of it."""
    if "run" in told:
        from hwfit.worker.training.job import TrainingJob

        replay_training(TrainingJob.from_dict(told), events)
        return
    from hwfit.worker.job import Job

    job = Job.from_dict(told)
    for batch_size in job.batch_sizes:
        tell(events, "begin", batch_size)
        row = replay_profile(job, batch_size, events)
        tell(events, "row", batch_size, status=row.status)


def replay_profile(job: Job, batch_size: int, events: TextIO) -> Profile:
    """Take the time of a recorded profile, and write it as this job's. Raises RecordError for want of one."""
    from hwfit.worker.child import now

    started_at = now()
    path, found = recorded_profile(job, batch_size)
    # A look of the guided search is not recorded: it says what the full measurement said, sooner.
    wait(LOOK_SECONDS if job.is_screening else found.metrics.get("wall_s"), events, batch_size)
    target = job.path(batch_size)
    samples = path.with_suffix(".npz")
    factor = 1.0 if found.round == job.round else noise_of(job, batch_size)
    digest = {}
    if samples.is_file():
        content = samples.read_bytes() if factor == 1 else scaled(samples.read_bytes(), factor)
        write_bytes(target.with_suffix(".npz"), content)
        digest = {"samples_sha256": bytes_sha256(content)}
    metrics = {
        name: value and value * (factor if name in TIMES else 1 / factor if name in RATES else 1)
        for name, value in found.metrics.items()
    }
    if job.is_screening:
        metrics["wall_s"] = LOOK_SECONDS
        found.details["is_evaluated"] = True
    row = replace(
        found,
        round=job.round,
        metrics=metrics,
        flags=[*(flag for flag in found.flags if flag.code != "recorded"), *flags()],
        fingerprints=job.fingerprints(batch_size),
        context=found.context | job.context(),
        details=found.details | {"recorded": {"round": found.round, "started_at": found.started_at}} | digest,
        started_at=started_at,
    )
    write_record(target, row.to_dict())
    return row


def recorded_profile(job: Job, batch_size: int) -> tuple[Path, Profile]:
    """The profile of a job's round; of a round that was not recorded, of the last one before it that was."""
    place = Path(str(directory()), "profiles")
    for number in range(job.round, -1, -1):
        path = profile_path(place, job.cell, number, batch_size)
        if path.is_file():
            return path, read_profile(path)
    raise RecordError(
        f"{profile_path(place, job.cell, job.round, batch_size)}: not recorded, nor any round before"
    )


def noise_of(job: Job, batch_size: int) -> float:
    """The factor on the times of a round that was not recorded: the same each time that it is replayed."""
    seed = fingerprint("replayed", job.cell.path, job.round, batch_size)
    return math.exp(random.Random(seed).gauss(0, NOISE))


def scaled(content: bytes, factor: float) -> bytes:
    """A file of samples with all its times multiplied."""
    import numpy as np

    made = io.BytesIO()
    with np.load(io.BytesIO(content)) as stored:
        arrays = {name: stored[name] * factor if name.endswith("_s") else stored[name] for name in stored}
    np.savez_compressed(made, allow_pickle=False, **arrays)
    return made.getvalue()


def replay_training(job: TrainingJob, events: TextIO) -> None:
    """Take the time of a recorded rung, and write it, with the run's log, as this job's."""
    from hwfit.training.records import read_training_record, record_path
    from hwfit.worker.child import now

    started_at = now()
    place = Path(str(directory()), "training", job.run.path)
    found = read_training_record(record_path(place, job.rung))
    wait(found.metrics.get("wall_s"), events)
    if (place / "log.jsonl").is_file():
        write_bytes(job.directory / "log.jsonl", (place / "log.jsonl").read_bytes())
    record = replace(
        found,
        flags=[*(flag for flag in found.flags if flag.code != "recorded"), *flags()],
        fingerprints=job.fingerprints(),
        context=found.context | job.context(),
        started_at=started_at,
    )
    write_record(job.path(), record.to_dict())


def wait(recorded_s: float | None, events: TextIO, batch_size: int = 0) -> None:
    """Let the time pass that something took, and say meanwhile that the worker is alive."""
    end = time.monotonic() + (recorded_s or 0.0) * pace()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, ALIVE_SECONDS))
        tell(events, "alive", batch_size)


def tell(events: TextIO, event: str, batch_size: int, **more: Any) -> None:
    """Say something to the supervisor, as a worker that measures does."""
    events.write(json.dumps({"event": event, "batch_size": batch_size} | more) + "\n")
    events.flush()
