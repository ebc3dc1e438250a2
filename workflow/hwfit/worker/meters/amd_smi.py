"""Energy of an AMD GPU's board, by AMD's own library `amdsmi`. Never run on a GPU by hwfit; a fake alone.

The energy counter where it can be believed, else the power, sampled. On some GPUs and drivers the counter
stands still or counts in another unit than it says (ROCm/amdsmi issues 22 and 38), so it is compared with
the power once, as Zeus does (ml-energy/zeus, device/gpu/amd.py), and not used where it is off by ten times.
"""

from __future__ import annotations

import time
from typing import Any

from hwfit.worker.meters import Meter, SensorFault, Unmetered
from hwfit.worker.meters.counter import Counter, CounterMeter
from hwfit.worker.meters.sampled import PolledMeter
from hwfit.worker.meters.trace import Demands

# Neither the period of the counter nor that of the power is documented: as long as for NVML.
RESOLUTION_S = 5.0
INTERVAL_S = 0.05
MOST_GAP_S = 0.5
TRIAL_S = 0.5
MOST_DIFFERENCE = 10.0


def meter(uuid: str) -> Meter:
    """The meter of a GPU by its UUID. Raises Unmetered."""
    try:
        import amdsmi
    except Exception as error:  # a library that does not fit its driver raises what it likes
        said = "amdsmi, AMD's Python library, cannot be imported in this environment (install the one of the "
        raise Unmetered(f"{said}ROCm that is there): {error}") from None
    try:
        amdsmi.amdsmi_init()
        handles = amdsmi.amdsmi_get_processor_handles()
        found = [each for each in handles if amdsmi.amdsmi_get_gpu_device_uuid(each) == uuid]
    except amdsmi.AmdSmiException as error:
        raise Unmetered(f"amdsmi cannot ask the driver: {error}") from None
    if not found:
        raise Unmetered(f"amdsmi knows no GPU {uuid}")
    gpu = Gpu(amdsmi, found[0])
    try:
        watts = gpu.power_w()
    except SensorFault as fault:
        raise Unmetered(
            f"the GPU tells no power: {fault}; or name an external meter (power_command)"
        ) from None
    if gpu.counts_as_it_draws(watts):
        return CounterMeter("counter:amd-smi", "board", RESOLUTION_S, [Counter("board", gpu.total_j)])
    demands = Demands(RESOLUTION_S, MOST_GAP_S)
    return PolledMeter("sampled:amd-smi", "board", gpu.power_w, INTERVAL_S, demands)


class Gpu:
    """What amdsmi tells of one GPU. `total_j` and `power_w` raise SensorFault."""

    def __init__(self, library: Any, handle: Any) -> None:
        self.library = library
        self.handle = handle

    def total_j(self) -> float:
        """Joules since some moment; counts times their size in microjoules."""
        told = self.ask("amdsmi_get_energy_count")
        # Called `power` before amdsmi 6.2.
        count = told.get("energy_accumulator", told.get("power"))
        return 1e-6 * number(count) * number(told.get("counter_resolution"))

    def power_w(self) -> float:
        """Watts of now, and on older GPUs their mean."""
        told = self.ask("amdsmi_get_power_info")
        now = told.get("current_socket_power")
        return number(told.get("average_socket_power") if now in (None, "N/A", 0) else now)

    def counts_as_it_draws(self, watts: float) -> bool:
        """Whether the counter grows by about what the power says."""
        try:
            start_j, start_s = self.total_j(), time.perf_counter()
            time.sleep(TRIAL_S)
            counted_w = (self.total_j() - start_j) / (time.perf_counter() - start_s)
        except SensorFault:
            return False
        return watts / MOST_DIFFERENCE < counted_w < watts * MOST_DIFFERENCE

    def ask(self, function: str) -> dict[str, Any]:
        """What a function of the library tells of the GPU."""
        try:
            return getattr(self.library, function)(self.handle)
        except self.library.AmdSmiException as error:
            raise SensorFault("energy_lost", str(error)) from None


def number(value: Any) -> float:
    """A figure that the library told. Raises SensorFault where it is `N/A`."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SensorFault("energy_unsupported", f"the library says {value!r}") from None
