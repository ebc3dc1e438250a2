"""No signal is lost: what Snakemake and its executor for SLURM do with one, and what hwfit changes of it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from snakemake.logging import ColorizingTextHandler

from cluster import wait_until
from hwfit.interrupts import hear_all

PACKAGE = Path(__file__).parents[2] / "workflow"
SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(PACKAGE)!r})
from hwfit.guarded import guard
guard(workflow)

rule all:
    input: expand("{{n}}", n=range(6))

rule one:
    output: "{{n}}"
    shell: "touch began; sleep 3; touch {{output}}"
"""
# A cluster of scripts: each submission is noted, and the first tells the test's Snakemake to stop.
SBATCH = """\
#!/bin/bash
echo $$ >> submitted
mkdir first 2> /dev/null && kill -INT "$(cat snakemake.pid)"
sleep 1
echo $$
"""
COMMANDS = {
    "sbatch": SBATCH,
    "scancel": '#!/bin/bash\necho "$@" >> cancelled\n',
    "squeue": "#!/bin/bash\n",
    "sacct": "#!/bin/bash\n",
    "sinfo": "#!/bin/bash\n",
    "scontrol": "#!/bin/bash\necho MaxArraySize = 1001\n",
    "sacctmgr": "#!/bin/bash\necho a\n",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


def start(directory: Path, *arguments: str) -> subprocess.Popen:
    """Snakemake with signals as a terminal's: what a shell starts in the background ignores Ctrl-C."""
    environment = os.environ | {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "snakemake", *arguments],
        cwd=directory,
        env=environment,
        stdout=(directory / "said").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    (directory / "snakemake.pid").write_text(str(process.pid))
    return process


def ended(process: subprocess.Popen, seconds: float = 40) -> int:
    try:
        return process.wait(seconds)
    finally:
        if process.poll() is None:
            process.kill()


def test_an_interrupt_while_a_line_is_logged_is_heard():
    class Interrupting:
        def write(self, text: str) -> None:
            signal.raise_signal(signal.SIGINT)

        def flush(self) -> None:
            pass

        def isatty(self) -> bool:
            return False

    hear_all()
    logger = logging.getLogger("interrupting")
    logger.propagate = False
    handler = ColorizingTextHandler(stream=Interrupting())
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    logger.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            logger.error("a line")
    finally:
        logger.removeHandler(handler)
        signal.signal(signal.SIGINT, before)


def test_many_sigterms_at_once_end_it_after_what_runs(directory):
    process = start(directory, "--cores", "1")
    wait_until((directory / "began").exists, 60, lambda: (directory / "said").read_text())
    for _ in range(200):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.0001)
    assert ended(process) != 0
    made = [name for name in "012345" if (directory / name).exists()]
    assert len(made) == 1, (directory / "said").read_text()


def test_ctrl_c_while_jobs_are_submitted_takes_all_of_them_back(directory):
    (directory / "bin").mkdir()
    (directory / "submitted").touch()
    for name, content in COMMANDS.items():
        (directory / "bin" / name).write_text(textwrap.dedent(content))
        (directory / "bin" / name).chmod(0o755)
    options = ["--executor", "slurm", "--jobs", "6", "--slurm-init-seconds-before-status-checks", "1"]
    options += ["--default-resources", "slurm_account=a", "slurm_partition=p", "runtime=1", "mem_mb=1"]
    assert ended(start(directory, *options)) != 0
    said = (directory / "said").read_text()
    submitted = (directory / "submitted").read_text().split()
    # Two threads submit at a time.
    assert 1 <= len(submitted) <= 3, said
    cancelled = (directory / "cancelled").read_text()
    run = said.partition("SLURM run ID: ")[2].split()[0]
    assert f"--name={run}" in cancelled
