"""Making a model's checkpoint, a compressed one, or the file of a runtime, in a framework's environment.

A failure becomes a card that says so, and with it rows: never the end of a sweep, but where the disk is full.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

from hwfit.process import die_with_parent, python_path
from hwfit.records import SCHEMA_VERSION, read_json, write_record
from hwfit.worker.errors import Incorrect, NotWritten, Unavailable, Unsupported, lacking, require_space

INSIDE = "HWFIT_INSIDE_ENVIRONMENT"


def make_artifact(asked: argparse.Namespace) -> int:
    """Run `prepare`, `compress`, `export` or `quantize`, outside, then again inside the environment."""
    if os.environ.get(INSIDE):
        return make_inside(asked)
    environment = read_json(asked.environment)
    if environment["status"] != "ok":
        write_failure(asked.output, "unavailable", environment["reason"])
        return 0
    inside = {INSIDE: "1", "PYTHONPATH": python_path(), "PYTHONHASHSEED": "0"}
    card = asked.output / "card.json"
    card.unlink(missing_ok=True)
    command = [environment["python"], "-m", "hwfit.worker", *sys.argv[1:]]
    parent = os.getpid()
    done = subprocess.run(command, env=os.environ | inside, preexec_fn=lambda: die_with_parent(parent))
    if done.returncode == os.EX_IOERR:
        return os.EX_IOERR
    if not card.exists():
        write_failure(asked.output, "crashed", f"{asked.command} ended with exit status {done.returncode}")
    return 0


def make_inside(asked: argparse.Namespace) -> int:
    """Make the artifact, in the framework's Python."""
    asked.output.mkdir(parents=True, exist_ok=True)
    if asked.command in ("compress", "quantize", "export"):
        # All files that lie there are the artifact's; those of an earlier attempt are not.
        for path in asked.output.iterdir():
            if path.is_file():
                path.unlink()
    try:
        if asked.command == "prepare":
            from hwfit.worker.prepare import prepare

            prepare(
                asked.name, json.loads(asked.model), asked.input, asked.output, asked.code, asked.calibration
            )
        elif asked.command == "export":
            from hwfit.worker.export import export

            export(asked.name, json.loads(asked.model), asked.input, asked.checkpoint, asked.output)
        elif asked.command == "quantize":
            from hwfit.worker.file_passes import make_file

            make_file(
                asked.name,
                asked.runtime,
                json.loads(asked.passes),
                asked.input,
                asked.checkpoint,
                asked.output,
                json.loads(asked.model),
            )
        else:
            from hwfit.worker.compress import compress

            compress(asked.name, json.loads(asked.passes), asked.input, asked.output, asked.data)
    except Unsupported as error:
        write_failure(asked.output, "unsupported", str(error))
    except Unavailable as error:
        write_failure(asked.output, "unavailable", str(error))
    except Incorrect as error:
        write_failure(asked.output, "incorrect", str(error))
    except NotWritten as error:
        print(error, file=sys.stderr)
        return os.EX_IOERR
    except Exception as error:
        traceback.print_exc()
        require_space(error)
        missing = lacking(error)
        said = missing or f"{asked.command} failed: {type(error).__name__}: {error}"
        write_failure(asked.output, "unavailable" if missing else "crashed", said)
    return 0


def write_failure(directory: Path, status: str, reason: str) -> None:
    """A card that says why there is no artifact."""
    card = {"schema_version": SCHEMA_VERSION, "status": status, "reason": reason}
    write_record(directory / "card.json", card)
