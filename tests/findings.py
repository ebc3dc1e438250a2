"""What is wrong with a small config, for tests of its checks."""

from __future__ import annotations

from typing import Any

from hwfit.config_checks import check_config
from hwfit.device_sections import Device
from hwfit.sections import Config

DEVICES = {
    "cpu": Device(accelerator="cpu", runtimes={"torch": "torch-cpu", "tensorflow": "tensorflow-cpu"}),
    "gpu0": Device(accelerator="cuda", runtimes={"torch": "torch-cuda"}, price_per_hour=2.5),
}


def config_findings(matrix: Any = None, **sections: Any) -> list[tuple[tuple[Any, ...], str]]:
    entry = {"models": ["mlp", "minilm"], "devices": ["cpu"], "batch_sizes": [1, 8]}
    matrix = [entry | one for one in matrix] if isinstance(matrix, list) else entry | (matrix or {})
    return list(check_config(Config(matrix=matrix, **sections), DEVICES))
