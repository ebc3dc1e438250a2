"""`python -m hwfit.nodes [config.yaml]`: whether one node of each class sees what a run needs.

It asks by srun, with a shell and nothing else, since neither the project nor its Python may be there: does
the node see this directory, and is it the same one; does it see the Python that runs Snakemake, and where the
environments are; is it of the login node's architecture; how far are the clocks apart. Worth a minute before
a sweep of hours: a job on a node that does not see the project cannot even write a log.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hwfit.config import ConfigError, read_study, require_readable
from hwfit.matrix import Plan
from hwfit.slurm_cluster import check, read_nodes
from hwfit.slurm_sections import Slurm
from hwfit.submission import Submission
from hwfit.yaml_source import read_yaml

# How long a node is waited for.
WAIT_SECONDS = 600
CLOCK_TOLERANCE_S = 5.0
# Directory, token, Python, environments. A line a fact; the time comes last, and is read as it comes.
SCRIPT = """
echo "node $(hostname)"
echo "machine $(uname -m)"
if cd "$1" 2>/dev/null; then
  [ -e "$2" ] && echo token || echo "no-token"
  [ -w . ] && echo writable || echo "no-writing"
else
  echo "no-directory"
fi
[ -x "$3" ] || echo "no-python"
[ -d "$4" ] || echo "no-environments"
echo "clock $(date +%s)"
"""


class NoAnswer(Exception):
    """A node could not be asked: the message is srun's."""


@dataclass
class Answer:
    """What a node said, and by how much its clock is ahead of this one's, s."""

    facts: dict[str, str] = field(default_factory=dict)
    ahead_s: float | None = None


def options_of(asked: Slurm) -> list[str]:
    """What srun is told for a device, as Snakemake's plugin tells sbatch."""
    told = {
        "--partition": asked.partition,
        "--account": asked.account,
        "--qos": asked.qos,
        "--gres": asked.gres,
        "--constraint": asked.constraint,
    }
    return [f"{name}={value}" for name, value in told.items() if value]


def ask(asked: Slurm, directory: Path, token: str, python: str, environments: Path) -> Answer:
    """Ask one node of a class. Raises NoAnswer where srun fails, or no node came free in time."""
    command = ["srun", *options_of(asked), "--ntasks=1", "--time=2", f"--immediate={WAIT_SECONDS}"]
    command += [
        f"--chdir={os.sep}",
        "sh",
        "-c",
        SCRIPT,
        "sh",
        str(directory),
        token,
        python,
        str(environments),
    ]
    answer = Answer()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            name, _, value = line.strip().partition(" ")
            answer.facts[name] = value
            if name == "clock":
                answer.ahead_s = int(value) + 0.5 - time.time()
        said = process.stderr.read().strip()
    if process.returncode or "node" not in answer.facts:
        raise NoAnswer(said.splitlines()[-1] if said else f"srun ended with status {process.returncode}")
    return answer


def problems_of(answer: Answer, directory: Path, python: str, environments: Path) -> Iterator[str]:
    """What a node lacks, with the remedy."""
    facts = answer.facts
    if "no-directory" in facts:
        yield f"does not see {directory}: the project must lie on storage that login node and nodes share"
    elif "no-token" in facts:
        yield f"has another directory at {directory}: the project must lie on storage that both share"
    elif "no-writing" in facts:
        yield f"may not write in {directory}"
    if "no-python" in facts:
        yield f"does not see {python}, which runs Snakemake: put its environment on shared storage"
    if "no-environments" in facts:
        yield f"does not see {environments}: set HWFIT_ENVIRONMENTS to a directory on shared storage"
    if facts.get("machine") != platform.machine():
        yield (
            f"is {facts.get('machine')}, and this is {platform.machine()}: run hwfit on a node of that kind, "
            "and merge its results (docs/slurm.md)"
        )
    if answer.ahead_s is not None and abs(answer.ahead_s) > CLOCK_TOLERANCE_S:
        way = "ahead" if answer.ahead_s > 0 else "behind"
        yield f"has a clock that is {abs(answer.ahead_s):.0f} s {way}: NTP keeps them together"


def check_all(
    classes: Mapping[str, Slurm], directory: Path, environments: Path
) -> tuple[list[str], list[str]]:
    """What was found of each class, and what is wrong."""
    cluster = read_nodes()
    if not cluster:
        return [], ["no cluster answers: sinfo is not on the PATH, or failed"]
    found, wrong = [], []
    token = directory / f".hwfit-node-{uuid.uuid4().hex}"
    environments.mkdir(parents=True, exist_ok=True)
    token.touch()
    try:
        for name, asked in classes.items():
            if misfits := list(check(name, asked, cluster)):
                wrong += misfits
                continue
            try:
                answer = ask(asked, directory, token.name, sys.executable, environments)
            except NoAnswer as error:
                wrong.append(f"{name}: no node could be asked: {error}")
                continue
            node = answer.facts["node"]
            lacking = list(problems_of(answer, directory, sys.executable, environments))
            wrong += [f"{name}: node {node} {problem}" for problem in lacking]
            if not lacking:
                found.append(f"{name}: node {node} sees the project, its Python and the environments")
    finally:
        token.unlink(missing_ok=True)
    return found, wrong


def main(arguments: Sequence[str]) -> int:
    """0: every class that was asked has what it takes; 1: something is wrong."""
    own = Path(__file__).parents[2] / "config"
    path = Path(arguments[0]) if arguments else Path("config/config.yaml")
    try:
        require_readable(path)
        classes = Submission(Plan(read_study(read_yaml(path).value, Path("config"), own, [path]))).classes
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if not classes:
        print(f"{shlex.quote(str(path))}: no device in it has the section `slurm`")
        return 0
    environments = Path(os.environ.get("HWFIT_ENVIRONMENTS", ".environments")).absolute()
    found, wrong = check_all(classes, Path.cwd(), environments)
    for line in found:
        print(line)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
