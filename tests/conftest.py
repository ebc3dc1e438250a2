"""What several kinds of tests need, and what a machine lacks: skipped, or a failure where it is required."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import fake_nvml

ROOT = Path(__file__).parents[1]
REQUIRED = os.environ.get("HWFIT_REQUIRE", "").split(",")
# Tests of the prepared zoo: a second worker would prepare it again, for minutes.
OF_CHECKPOINTS = ("test_memory", "test_quantized_files", "test_sessions", "test_weights", "test_zoo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real runs measure, so they go alone."""
    for item in items:
        if {ROOT / "tests" / "workflow", ROOT / "tests" / "slurm"} & set(item.path.parents):
            item.add_marker("alone")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of two workers one has a file, whose tests share fixtures, and one all that shares `checkpoints`."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "checkpoints" if Path(file).stem in OF_CHECKPOINTS else file

    return Files(config, log)


@pytest.fixture(scope="session")
def python_of():
    """The Python of a runtime's environment, as `make test` built it."""

    def find(environment: str) -> str:
        path = ROOT / "results" / "environments" / f"{environment}.json"
        found = json.loads(path.read_text()) if path.exists() else {"reason": f"{path.name} is not there"}
        if found.get("python"):
            return found["python"]
        message = f"no environment {environment}: {found['reason']} (make test builds it)"
        if environment in REQUIRED:
            pytest.fail(message)
        pytest.skip(message)

    return find


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory):
    """The fake NVML, loaded first: nvidia-ml-py then gets it under the real one's name."""
    compiler = shutil.which("cc")
    if compiler is None:
        message = "no C compiler: install gcc and libc6-dev"
        pytest.fail(message) if "cc" in REQUIRED else pytest.skip(message)
    return ctypes.CDLL(str(fake_nvml.build(tmp_path_factory.mktemp("nvml"), compiler)), ctypes.RTLD_GLOBAL)


@pytest.fixture
def gpu(nvml_library, tmp_path, monkeypatch):
    """A GPU that knows its UUID, and what a test lets it say."""
    from hwfit.worker import nvml_monitor

    monkeypatch.setenv("FAKE_NVML", str(tmp_path / "answers"))
    nvml_monitor.device.cache_clear()
    fake = fake_nvml.FakeGpu(tmp_path / "answers")
    fake.says()
    yield fake
    nvml_monitor.device.cache_clear()
