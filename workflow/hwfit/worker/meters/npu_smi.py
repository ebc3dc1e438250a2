"""Power of a Huawei Ascend NPU, sampled by `npu-smi`. Never run on an NPU by hwfit; a fake alone.

`npu-smi info -t power -i <card> -c <chip>` prints `NPU Real-time Power(W) : 9.1`; for a card's controller,
and on older drivers, it is `Power Dissipation(W)`. `Rated Power Dissipation(W)` of an Ascend 310 is its
rating and no measurement. Card and chip of /dev/davinciN, by its physical number, are told by
`npu-smi info -t phyid-remap -p N` (both: Ascend documentation, npu-smi command reference), and where that
is not known by the table of `npu-smi info -m`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

from hwfit.worker.meters import Meter, SensorFault, Unmetered
from hwfit.worker.meters.sampled import PolledMeter
from hwfit.worker.meters.trace import Demands

# A call starts a process that asks the driver. A run of 10 s holds some ten samples, however slow it is.
INTERVAL_S = 0.5
MOST_GAP_S = 3.0
RESOLUTION_S = 10.0
ANSWER_S = 10.0
POWER = re.compile(r"^\s*(NPU Real-time Power|Power Dissipation)\s*\(W\)\s*:\s*(\S+)", re.M)
PLACE = re.compile(r"^\s*(NPU ID|Chip ID)\s*:\s*(\d+)\s*$", re.M)


def meter(address: str) -> Meter:
    """The meter of an NPU by `host:/dev/davinciN`. Raises Unmetered."""
    if shutil.which("npu-smi") is None:
        raise Unmetered("npu-smi, which comes with the Ascend driver, is not on the PATH: add its folder")
    number = re.search(r"\d+$", address)
    try:
        card, chip = place_of(int(number[0]) if number else 0)
        read_w = power_of(card, chip)
        read_w()
    except SensorFault as fault:
        raise Unmetered(
            f"npu-smi tells no power: {fault}; or name an external meter (power_command)"
        ) from None
    demands = Demands(RESOLUTION_S, MOST_GAP_S)
    return PolledMeter("sampled:npu-smi", "board", read_w, INTERVAL_S, demands, {"card": card, "chip": chip})


def place_of(number: int) -> tuple[int, int]:
    """Card and chip of an NPU by its physical number. Raises SensorFault."""
    try:
        found = {
            name: int(value) for name, value in PLACE.findall(ask("-t", "phyid-remap", "-p", str(number)))
        }
        return found["NPU ID"], found["Chip ID"]
    except (SensorFault, KeyError):
        return place_in(ask("-m"), number)


def place_in(table: str, number: int) -> tuple[int, int]:
    """Card and chip by the table of `npu-smi info -m`. Raises SensorFault.

    Its columns are `NPU ID`, `Chip ID`, `Chip Logic ID`, on some drivers `Chip Phy-ID`, and `Chip Name`;
    controllers have no number there.
    """
    column = 3 if "Phy" in table else 2
    for cells in map(str.split, table.splitlines()):
        if len(cells) > column and cells[0].isdigit() and cells[column] == str(number):
            return int(cells[0]), int(cells[1])
    raise SensorFault("energy_unsupported", f"`npu-smi info -m` names no chip with number {number}")


def power_of(card: int, chip: int) -> Callable[[], float]:
    """A function that asks for a chip's power in watts; it raises SensorFault."""

    def read_w() -> float:
        said = ask("-t", "power", "-i", str(card), "-c", str(chip))
        found = dict(POWER.findall(said))
        text = found.get("NPU Real-time Power", found.get("Power Dissipation"))
        try:
            return float(text or "")
        except ValueError:
            told = text or (said.split() or ["nothing"])[-1]
            raise SensorFault("energy_unsupported", f"it says {told!r} where the power should be") from None

    return read_w


def ask(*arguments: str) -> str:
    """What `npu-smi info` prints. Raises SensorFault."""
    command = ["npu-smi", "info", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=ANSWER_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SensorFault("energy_lost", str(error)) from None
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise SensorFault("energy_lost", f"`{' '.join(command)}` failed: {said[-1]}")
    return done.stdout
