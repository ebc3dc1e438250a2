"""The code that starts what was chosen: runtime, precision, batch size and threads, ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwfit.catalog import PASSES, generation_lengths, weights_file
from hwfit.collect import Row
from hwfit.matrix import artifact_name, environment_file, model_directory, weights_directory
from hwfit.records import RecordError, read_json

TEMPLATE = """\
# {title}
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, {package!r})

from hwfit.worker import runtimes

model = Path({model!r})
card = json.loads((model / "card.json").read_text())
request = runtimes.Request(
    source={source!r},
    task={task!r},
    weights=Path({weights!r}) / {file!r},
    card=card,
    accelerator={accelerator!r},
    index={index!r},
    passes={passes!r},
    threads={threads!r},
    output_tokens={output_tokens!r},
)
session = runtimes.load({runtime!r}).open_session(request)
with np.load(model / "evaluation.npz") as stored:
    batch = {batch}
outputs = session.fetch(session.run(session.place(batch)))
print(outputs.shape)
"""


INPUTS = (
    '{{entry["name"]: np.resize(stored[entry["name"]], ({batch_size}, *stored[entry["name"]].shape[1:]))\n'
    '             for entry in card["inputs"] if "value" not in entry}}'
)
PROMPTS = '{{"input_ids": np.resize(stored["tokens"], ({batch_size}, {prompt_tokens}))}}'


def launch_snippet(row: Row, plan: Mapping[str, Any]) -> dict[str, str | None]:
    """How to run a row from the project's directory: its environment, that one's Python, and the code."""
    cell, study = row.cell, plan["study"]
    model, device = study["models"][cell.model], study["devices"][cell.device]
    passes = study["optimizations"][cell.optimization]["passes"]
    artifact = artifact_name([step for step in passes if PASSES[step["pass"]].kind == "artifact"])
    environment = device["runtimes"][cell.runtime]
    try:
        python = read_json(environment_file(environment)).get("python")
    except RecordError:
        python = None
    source = {key: value for key, value in model["sources"][cell.runtime].items() if value is not None}
    prompt_tokens, output_tokens = generation_lengths(cell.scenario) or (None, None)
    inputs = PROMPTS if prompt_tokens else INPUTS
    code = TEMPLATE.format(
        package=seen_from_here(Path(__file__).parents[1]),
        title=f"{cell}, batch size {row.batch_size}",
        model=model_directory(cell.model),
        weights=weights_directory(cell.model, artifact, cell.runtime),
        file=weights_file(cell.runtime),
        source=source,
        task=model["task"],
        accelerator=device["accelerator"],
        index=device["index"],
        passes=[step for step in passes if PASSES[step["pass"]].kind == "session"],
        threads=device["threads"],
        runtime=cell.runtime,
        output_tokens=output_tokens,
        batch=inputs.format(batch_size=row.batch_size, prompt_tokens=prompt_tokens),
    )
    python = python and seen_from_here(Path(python))
    return {"environment": environment, "python": python, "code": code}


def seen_from_here(path: Path) -> str:
    """A path from the project's directory where it lies below it, so that the project may be moved."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
