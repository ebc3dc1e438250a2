"""The code that starts what was chosen: runtime, precision, batch size and threads, ready to run."""

from __future__ import annotations

from pathlib import Path

from hwfit.catalog import COMPOSITE, generation_lengths
from hwfit.collect import Row
from hwfit.layout import environment_file
from hwfit.matrix import Plan
from hwfit.records import RecordError, read_json, weights_path

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
    weights=Path({weights!r}),
    card=card,
    accelerator={accelerator!r},
    index={index!r},
    passes={passes!r},
    threads={threads!r},
    output_tokens={output_tokens!r},
{members})
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


def launch_snippet(row: Row, planned: Plan) -> dict[str, str | None]:
    """How to run a row from the project's directory: its environment, that one's Python, and the code."""
    cell = row.cell
    job = planned.job(cell, 0, [row.batch_size])
    environment = planned.environment(cell.device, cell.runtime)
    try:
        python = read_json(environment_file(environment)).get("python")
    except RecordError:
        python = None
    prompt_tokens, output_tokens = generation_lengths(cell.scenario) or (None, None)
    inputs = PROMPTS if prompt_tokens else INPUTS
    weights = job["weights_directory"]
    if job["accelerator"] != COMPOSITE:
        weights = str(weights_path(Path(weights), cell.runtime))
    code = TEMPLATE.format(
        package=seen_from_here(Path(__file__).parents[1]),
        title=f"{cell}, batch size {row.batch_size}",
        model=job["model_directory"],
        weights=weights,
        source=job["source"],
        task=job["task"],
        accelerator=job["accelerator"],
        index=job["index"],
        passes=job["passes"],
        threads=job["threads"],
        members=f"    members={job['members']!r},\n" if "members" in job else "",
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
