"""Energy of the processor's packages and their memory, by the kernel's powercap tree (RAPL).

Intel and AMD processors count the energy of each package (AMD: of each socket), and some that of the DRAM
beside it; Linux shows both under /sys/class/powercap. All packages of the host are summed: a worker that is
kept on some cores is still charged the whole. Never run on real sensors by hwfit; fakes only.

Zones as in the kernel's Documentation/power/powercap/powercap.rst. `core` and `uncore` are parts of their
package. `psys` holds the package and more of the platform, and not every machine wires it, so it is left
out. `intel-rapl-mmio` shows the same package by another register, and is never added to the first.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from hwfit.worker.meters import Forbidden, Meter, SensorFault, Unmetered
from hwfit.worker.meters.counter import Counter, CounterMeter

SOURCE = "counter:rapl"
# The registers are updated about every millisecond (kernel, hwmon/amd_energy; Intel SDM vol. 3, 15.10), so
# that both ends of a second together are uncertain by 0.2%.
RESOLUTION_S = 1.0
# Where the zone does not tell its power limit: more than any package of today draws.
MOST_W = 1000.0
NO_ZONE = (
    "no RAPL zone under {root}: a virtual machine seldom shows them; on bare metal, `modprobe "
    "intel_rapl_msr` (Intel and AMD), or name an external meter (power_command)"
)
DENIED = (
    "RAPL is there, but {path} may be read by root alone: `chmod a+r {root}/*/energy_uj` as root (again "
    "after each boot), or run as root"
)


def meter(_: str) -> Meter:
    """The host's packages, each with its DRAM where that is counted. Raises Unmetered."""
    root = Path(os.environ.get("HWFIT_POWERCAP", "/sys/class/powercap"))
    packages = zones(root, "intel-rapl") or zones(root, "intel-rapl-mmio")
    if not packages:
        raise Unmetered(NO_ZONE.format(root=root))
    counters = [counter(name, zone) for name, zone in packages.items()]
    for each, zone in zip(counters, packages.values(), strict=True):
        try:
            each.read_j()
        except SensorFault as fault:
            if fault.code != "energy_permission":
                raise Unmetered(str(fault)) from None
            raise Forbidden(DENIED.format(path=zone / "energy_uj", root=root)) from None
    return CounterMeter(SOURCE, "package", RESOLUTION_S, counters, {"domains": list(packages)})


def zones(root: Path, control: str) -> dict[str, Path]:
    """The zones of a control type that are added up, by a name that is theirs alone: `package-0`,
    `package-0 dram`, …
    """
    found: dict[str, Path] = {}
    for top in sorted(root.glob(f"{control}:*")):
        package = name_of(top)
        if not re.fullmatch(rf"{control}:\d+", top.name) or not package.startswith("package"):
            continue
        found[package] = top
        for sub in root.glob(f"{top.name}:*"):
            # A DRAM zone that has never counted is one that the machine does not feed.
            if name_of(sub) == "dram" and number(sub / "energy_uj") != 0:
                found[f"{package} dram"] = sub
    return found


def name_of(zone: Path) -> str:
    """What a zone calls itself; empty where it does not."""
    try:
        return (zone / "name").read_text().strip()
    except OSError:
        return ""


def counter(name: str, zone: Path) -> Counter:
    """A zone's counter, with its range and twice the highest power limit that it tells."""
    limits = [number(path) for path in zone.glob("constraint_*_power_limit_uw")]
    most_w = 2e-6 * max((limit for limit in limits if limit), default=0.0)
    range_uj = number(zone / "max_energy_range_uj")
    return Counter(
        name,
        lambda: joules(zone / "energy_uj"),
        1e-6 * range_uj if range_uj else None,
        min(most_w, MOST_W) or MOST_W,
    )


def number(path: Path) -> float | None:
    """What a file of the tree says; None where it says no number."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def joules(path: Path) -> float:
    """A counter's joules. Raises SensorFault."""
    try:
        return 1e-6 * float(path.read_text())
    except PermissionError:
        raise SensorFault("energy_permission", f"{path} may be read by root alone") from None
    except (OSError, ValueError) as error:
        raise SensorFault("energy_lost", f"{path} cannot be read: {error}") from None
