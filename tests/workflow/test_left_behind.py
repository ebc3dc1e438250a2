"""What a run leaves on disk and says: no secret in it, and nothing that everybody may write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hwfit.process import OTHERS_WRITE
from kills import Sweep, make_sweep

SECRETS = {
    "a password in tracking.uri": "tracking-pw-81f2",
    "a password in power_command": "meter-pw-5c3d",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-pw-77aa",
    "HF_TOKEN": "hf-token-c0de",
    "AWS_SECRET_ACCESS_KEY": "aws-key-9e9e",
}
URI = f"postgresql://me:{SECRETS['a password in tracking.uri']}@127.0.0.1:1/runs"
COMMAND = f"curl -s http://me:{SECRETS['a password in power_command']}@meter/ | awk '{{print $1}}'"


@pytest.fixture(scope="session", autouse=True)
def environments():
    """Nothing is measured here, so that no environment is needed."""


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory) -> tuple[Sweep, str]:
    """A run of everything by a user with secrets and without a umask; MLflow's server is not there."""
    directory = tmp_path_factory.mktemp("left behind")
    recorded = directory / "recorded"
    tracking = {"uri": URI}
    sweep = make_sweep(directory / "a sweep", recorded, ("all",), tracking=tracking)
    devices = sweep.directory / "config" / "devices.yaml"
    devices.write_text(f'{devices.read_text()}  power_command: "{COMMAND}"\n  power_scope: node\n')
    sweep.pace = "0"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            if name.isupper():
                patch.setenv(name, value)
        process = sweep.start("--logger", "hwfit", "--show-failed-logs", preexec_fn=lambda: os.umask(0))
        said, _ = process.communicate(timeout=300)
    assert (sweep.directory / "reports" / "hardware-selection.html").exists(), said
    assert process.returncode == 1
    return sweep, said


def files_of(sweep: Sweep) -> list[Path]:
    """All files but the user's own config."""
    config = sweep.directory / "config"
    return [path for path in sweep.directory.rglob("*") if path.is_file() and path.parent != config]


def test_where_runs_cannot_be_logged_is_told_without_the_password(left_behind):
    assert "MLflow at postgresql://***@127.0.0.1:1/runs" in left_behind[1]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda name: name.replace(" ", "-"))
def test_no_secret_is_in_what_a_run_leaves_or_says(left_behind, secret):
    sweep, said = left_behind
    value = SECRETS[secret]
    files = files_of(sweep)
    assert {"plan.json", "progress.log", "measurements.zip", "bs1.json"} <= {path.name for path in files}
    assert any(".snakemake/metadata" in str(path) for path in files)
    assert not [str(path) for path in files if value.encode() in path.read_bytes()]
    assert value not in said


def test_no_secret_is_in_the_archive(left_behind, tmp_path):
    import zipfile

    with zipfile.ZipFile(left_behind[0].directory / "reports" / "measurements.zip") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert b"power_command" in content
    assert not [value for value in SECRETS.values() if value.encode() in content]


def test_nothing_is_for_everybody_to_write(left_behind):
    directory = left_behind[0].directory
    own = {directory / "config", directory / "Snakefile", *(directory / "config").iterdir()}
    made = [path for path in directory.rglob("*") if path not in own and not path.is_symlink()]
    assert len(made) > 50
    assert not [str(path) for path in made if path.lstat().st_mode & OTHERS_WRITE]
