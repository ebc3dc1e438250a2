"""Energy of an NVIDIA GPU's board, by NVML through nvidia-ml-py. On an H200 the counter was found and
read; the energy of a run has been measured on fakes alone.

The counter of the total energy (Volta and newer) where the GPU has it, else its power, sampled.

How long a run must be. NVML renews its figures every 100 ms on Turing and newer (20 ms before), so both
ends of a run are uncertain by up to 100 ms of work. On A100 and H100 each figure averages 25 ms of them:
three quarters of the time are never seen (Yang, Adámek, Armour: Part-time Power Measurements,
arXiv 2312.02741, which advises 32 repetitions and 5 s at least, and finds single boards wrong by 5%).
Whether the counter sees more than the samples do is documented nowhere, so both get the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwfit.worker.meters import Meter, SensorFault, Unmetered
from hwfit.worker.meters.counter import Counter, CounterMeter
from hwfit.worker.meters.sampled import PolledMeter
from hwfit.worker.meters.trace import MOST_OF_LIMIT, Demands
from hwfit.worker.nvml_monitor import Unreadable, device

RESOLUTION_S = 5.0
# Oftener than any GPU renews its figure of now (Pascal and Volta: every 20 ms, the others 100 ms).
INTERVAL_S = 0.02
MOST_GAP_S = 0.5
MIG = (
    "NVML tells the energy of the whole board and of no MIG instance: measure the GPU without MIG, or name "
    "an external meter (power_command)"
)
# What is read, for the record: nvml.h, nvmlDeviceGetPowerUsage and NVML_FI_DEV_POWER_INSTANT.
INSTANT = "power of now (NVML_FI_DEV_POWER_INSTANT)"
USAGE = "nvmlDeviceGetPowerUsage: on Ampere (but GA100) and newer the mean of the last second"


def meter(uuid: str) -> Meter:
    """The meter of a GPU. Raises Unmetered."""
    if uuid.startswith("MIG-"):
        raise Unmetered(MIG)
    gpu = Gpu(uuid)
    reasons = []
    try:
        gpu.total_j()
        limit_w = gpu.limit_w()
        counter = Counter("board", gpu.total_j, most_w=MOST_OF_LIMIT * limit_w if limit_w else None)
        return CounterMeter("counter:nvml", "board", RESOLUTION_S, [counter])
    except SensorFault as fault:
        reasons.append(str(fault))
    for read_w, reading in ((gpu.power_now_w, INSTANT), (gpu.power_w, USAGE)):
        try:
            read_w()
        except SensorFault as fault:
            reasons.append(str(fault))
            continue
        demands = Demands(RESOLUTION_S, MOST_GAP_S, gpu.limit_w(), jitters=True)
        return PolledMeter("sampled:nvml", "board", read_w, INTERVAL_S, demands, {"reading": reading})
    said = "; ".join(dict.fromkeys(reasons))
    raise Unmetered(
        f"the GPU's energy and power cannot be read: {said}; or name an external meter (power_command)"
    )


class Gpu:
    """What NVML tells of one GPU. Every method raises SensorFault, but `limit_w`."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid

    def total_j(self) -> float:
        """Joules since the driver was loaded."""
        return 1e-3 * self.ask("nvmlDeviceGetTotalEnergyConsumption")

    def power_w(self) -> float:
        """Watts, of now or of the last second."""
        return 1e-3 * self.ask("nvmlDeviceGetPowerUsage")

    def power_now_w(self) -> float:
        """Watts of now."""
        nvml, _ = self.device()
        (field,) = self.ask("nvmlDeviceGetFieldValues", [nvml.NVML_FI_DEV_POWER_INSTANT])
        if field.nvmlReturn != nvml.NVML_SUCCESS:
            raise fault_of(nvml, nvml.NVMLError(field.nvmlReturn))
        return 1e-3 * field.value.uiVal

    def limit_w(self) -> float | None:
        """The power limit in force; None where it is not told."""
        try:
            return 1e-3 * self.ask("nvmlDeviceGetEnforcedPowerLimit")
        except SensorFault:
            return None

    def ask(self, function: str, *arguments: Any) -> Any:
        """What an NVML function returns."""
        nvml, handle = self.device()
        call: Callable[..., Any] = getattr(nvml, function)
        try:
            return call(handle, *arguments)
        except nvml.NVMLError as error:
            raise fault_of(nvml, error) from None

    def device(self) -> tuple[Any, Any]:
        """The library and its handle of the GPU."""
        try:
            return device(self.uuid)
        except Unreadable as error:
            raise SensorFault("energy_lost", str(error)) from None


def fault_of(nvml: Any, error: Any) -> SensorFault:
    """An NVML error as the fault of a sensor."""
    codes = {
        nvml.NVML_ERROR_NO_PERMISSION: "energy_permission",
        nvml.NVML_ERROR_NOT_SUPPORTED: "energy_unsupported",
    }
    return SensorFault(codes.get(error.value, "energy_lost"), str(error))
