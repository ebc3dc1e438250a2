"""Small studies for tests: what a config would say, without files."""

from __future__ import annotations

from typing import Any

from hwfit.config import Study
from hwfit.matrix import Plan

MODELS = {
    "net": {
        "task": "classification",
        "data": "digits",
        "sources": {"torch": {"zoo": "lenet-5"}, "tensorflow": {"zoo": "lenet-5"}},
    },
    "encoder": {"task": "embedding", "data": "python-help", "sources": {"torch": {"zoo": "minilm"}}},
}
DEVICES = {
    "cpu": {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu", "tensorflow": "tensorflow-cpu"}},
    "gpu0": {"accelerator": "cuda", "runtimes": {"torch": "torch-cuda"}, "price_per_hour": 2.0},
}
OPTIMIZATIONS = {
    "baseline": {"passes": []},
    "int8": {"passes": [{"pass": "quantize_dynamic"}]},
    "bf16": {"passes": [{"pass": "cast", "dtype": "bfloat16"}]},
    "offload": {"passes": [{"pass": "offload"}]},
    "channels-last": {"passes": [{"pass": "channels_last"}]},
    "prune50": {"passes": [{"pass": "prune", "amount": 0.5}]},
    "prune50-bf16": {"passes": [{"pass": "prune", "amount": 0.5}, {"pass": "cast", "dtype": "bfloat16"}]},
}


def make_study(
    *,
    matrix: Any = None,
    models: dict[str, Any] | None = None,
    devices: dict[str, Any] | None = None,
    **config: Any,
) -> Study:
    """A study of one small model on the CPU, with what a test changes."""
    matrix = {"models": ["net"], "devices": ["cpu"]} if matrix is None else matrix
    return Study.model_validate(
        {
            "config": {"matrix": matrix} | config,
            "models": MODELS | (models or {}),
            "devices": DEVICES | (devices or {}),
            "optimizations": OPTIMIZATIONS,
        }
    )


def make_plan(**study: Any) -> Plan:
    """The plan of such a study."""
    return Plan(make_study(**study))
