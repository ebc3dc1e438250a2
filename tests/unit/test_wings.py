"""Neither wing imports the other, and the supervisor costs no framework."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "workflow" / "hwfit"
# What both wings may read: the schemas of the files between them, and the names both know.
SHARED = {
    "hwfit",
    "hwfit.records",
    "hwfit.catalog",
    "hwfit.series",
    "hwfit.memory_prediction",
    "hwfit.process",
    "hwfit.training",
    "hwfit.training.records",
}
FRAMEWORKS = {"torch", "tensorflow", "keras", "mindspore", "onnxruntime", "openvino"}


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module))
            if str(node.module).startswith("hwfit"):
                found |= {
                    f"{node.module}.{a.name}" for a in node.names if is_module(f"{node.module}.{a.name}")
                }
    return found


def is_module(name: str) -> bool:
    path = PACKAGE.parent / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def top(name: str) -> str:
    return name.partition(".")[0]


WORKER = sorted((PACKAGE / "worker").rglob("*.py"))
CONTROL = sorted(set(PACKAGE.rglob("*.py")) - set(WORKER))
# Snakemake, pydantic, pandas and the like: what a runtime's environment does not have.
CONTROL_LIBRARIES = (
    {top(n) for path in CONTROL for n in imports_of(path)} - sys.stdlib_module_names - {"hwfit", "numpy"}
)


@pytest.mark.parametrize("path", WORKER, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_worker_wing_imports_nothing_of_the_control_wing(path):
    for name in imports_of(path):
        if top(name) == "hwfit":
            assert name.startswith("hwfit.worker") or name in SHARED, name
        else:
            assert top(name) not in CONTROL_LIBRARIES, name


@pytest.mark.parametrize("path", CONTROL, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_control_wing_imports_neither_the_worker_wing_nor_a_framework(path):
    for name in imports_of(path):
        assert not name.startswith("hwfit.worker"), name
        assert top(name) not in FRAMEWORKS, name


def test_the_control_wings_libraries_are_known():
    assert {"pydantic", "pandas", "mlflow", "altair"} <= CONTROL_LIBRARIES


def test_what_both_wings_share_imports_the_standard_library_and_numpy_alone():
    for name in SHARED:
        place = PACKAGE.joinpath(*name.split(".")[1:])
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        for imported in imports_of(path):
            assert top(imported) in sys.stdlib_module_names | {"numpy"} or imported in SHARED, (
                name,
                imported,
            )


@pytest.mark.parametrize(
    "module", ["supervisor", "probe", "environment", "job", "lock", "training.supervisor"]
)
def test_what_runs_before_an_environment_exists_needs_the_standard_library_alone(module):
    """In a bare interpreter: -S leaves site-packages out, so that an import of anything else fails."""
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import hwfit.worker.{module}, json;"
    code += "print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    foreign = (
        {top(name) for name in json.loads(done.stdout)} - sys.stdlib_module_names - {"hwfit", "__main__"}
    )
    assert not {name for name in foreign if not name.startswith("_")}
