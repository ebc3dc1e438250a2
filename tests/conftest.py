"""What several kinds of tests need, and what a machine lacks: skipped, or a failure where it is required."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REQUIRED = os.environ.get("HWFIT_REQUIRE", "").split(",")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real runs go alone; of what goes side by side, a file has one worker, and so has the prepared zoo."""
    for item in items:
        if ROOT / "tests" / "workflow" in item.path.parents:
            item.add_marker("alone")
        is_zoo = "checkpoints" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("checkpoints" if is_zoo else str(item.path)))


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
