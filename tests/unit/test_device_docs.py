"""docs/devices.md speaks of every runtime on every accelerator that it can drive, and of no other."""

import re
from pathlib import Path

from hwfit.catalog import ACCELERATORS, RUNTIMES

PAGE = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()


def test_every_runtime_and_accelerator_has_its_line():
    lines = re.findall(r"^\| (\w+) \| ([a-z-]+) \| .* \| .* \|$", PAGE, re.MULTILINE)
    listed = [line for line in lines if line != ("runtime", "accelerator")]
    able = [(name, device) for name, runtime in RUNTIMES.items() for device in runtime.accelerators]
    assert sorted(listed) == sorted(able)


def test_every_accelerator_says_how_it_is_found():
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)) == sorted(ACCELERATORS)
