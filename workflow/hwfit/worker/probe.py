"""What a device is and whether it is there, with the standard library alone.

A probe runs before anything is installed, so it asks drivers and device files, never a framework.
Absent hardware is a result: its combinations become rows, and none of its software is installed.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

QUERY_SECONDS = 30
# Where containers and virtual machines often have the driver's commands.
NVIDIA_FOLDERS = ("/usr/local/nvidia/bin",)
# The PCI vendor number, as the kernel writes it.
INTEL = "0x8086"


class Absent(Exception):
    """The device is not there: the message says what was looked for, and where."""


def probe(accelerator: str, index: int = 0, cores: Sequence[int] = ()) -> dict[str, Any]:
    """Look for a device.

    Parameters
    ----------
    cores : of a cpu, those that a worker is to be kept on; empty for all

    Returns
    -------
    {"status": "ok" or "unavailable", "reason", "accelerator", "index", "name", "identity",
    "memory_mb", "driver", "environment"}; `identity` names this very piece of hardware, `environment`
    holds the variables that make a worker see it alone. With `cores` also "pinned_cores", and "locks":
    the identities that are locked while it is measured.
    """
    found: dict[str, Any] = {
        "status": "ok",
        "reason": "",
        "accelerator": accelerator,
        "index": index,
        "name": None,
        "identity": None,
        "memory_mb": None,
        "driver": None,
        "environment": {},
    }
    try:
        found |= PROBES[accelerator](index)
        return found | some_cores(found, sorted(cores)) if cores else found
    except Absent as absent:
        return found | {"status": "unavailable", "reason": str(absent)}


def probe_cpu(index: int) -> dict[str, Any]:
    """The host's processor, as much of it as this process may use."""
    if index:
        raise Absent(f"a host has one cpu device, index 0, not {index}")
    name, flags = cpu_name_and_flags()
    cores = usable_cores()
    return {
        "name": f"{name}, {cores} cores",
        "identity": f"cpu:{platform.node()}:{name}:{cores}",
        "memory_mb": memory_mb(),
        "driver": platform.release(),
        "cores": cores,
        "cpu_flags": flags,
    }


def some_cores(cpu: Mapping[str, Any], cores: list[int]) -> dict[str, Any]:
    """What is different of a processor of which some cores are used. Raises Absent where one is not there.

    Its lock is the whole processor's: halves share caches and memory, and would disturb each other.
    """
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    lacking = [core for core in cores if core not in usable]
    if lacking:
        said = f"cores {', '.join(map(str, lacking))} are not among those that may be used"
        raise Absent(f"{said}: {', '.join(map(str, sorted(usable))) or 'this system pins no process'}")
    text = ", ".join(map(str, cores))
    return {
        "name": f"{cpu['name']}, of them {text}",
        "identity": f"{cpu['identity']}:cores {text}",
        "locks": [cpu["identity"]],
        "cores": len(cores),
        "pinned_cores": cores,
    }


def probe_cuda(index: int) -> dict[str, Any]:
    """An NVIDIA GPU, by nvidia-smi, which comes with the driver."""
    command = shutil.which("nvidia-smi", path=os.pathsep.join((os.environ.get("PATH", ""), *NVIDIA_FOLDERS)))
    if command is None:
        where = " or ".join(NVIDIA_FOLDERS)
        raise Absent(f"no NVIDIA driver: nvidia-smi is not on the PATH, nor in {where}")
    lines = ask(
        command,
        "--query-gpu=index,uuid,name,memory.total,driver_version",
        "--format=csv,noheader,nounits",
    ).splitlines()
    gpus = [[cell.strip() for cell in line.split(",")] for line in lines if line.count(",") == 4]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        asked = [entry.strip() for entry in visible.split(",") if entry.strip()]
        gpus = [gpu for entry in asked for gpu in gpus if entry == gpu[0] or gpu[1].startswith(entry)]
    if index >= len(gpus):
        raise Absent(f"no NVIDIA GPU with index {index}: {len(gpus)} seen")
    _, uuid, name, memory, driver = gpus[index]
    return {
        "name": name,
        "identity": f"cuda:{uuid}",
        # It counts in MiB.
        "memory_mb": float(memory) * 1.048576 if memory.replace(".", "").isdigit() else None,
        "driver": driver,
        "environment": {"CUDA_VISIBLE_DEVICES": uuid},
    }


def probe_tpu(index: int) -> dict[str, Any]:
    """A Google TPU core, by its device files (PCIe: /dev/accel*, newer: /dev/vfio/*)."""
    files = sorted(Path("/dev").glob("accel[0-9]*")) or sorted(Path("/dev/vfio").glob("[0-9]*"))
    if not files:
        raise Absent("no TPU: neither /dev/accel* nor /dev/vfio/* is there")
    if index >= len(files):
        raise Absent(f"no TPU with index {index}: {len(files)} seen")
    name = os.environ.get("TPU_ACCELERATOR_TYPE", "TPU")
    return {"name": name, "identity": f"tpu:{platform.node()}:{files[index]}"}


def probe_npu(index: int) -> dict[str, Any]:
    """A Huawei Ascend NPU, by its device file, and npu-smi where it is installed."""
    file = Path(f"/dev/davinci{index}")
    if not file.exists():
        raise Absent(f"no Ascend NPU with index {index}: {file} is not there")
    driver = None
    version = Path("/usr/local/Ascend/driver/version.info")
    if version.exists():
        driver = version.read_text().splitlines()[0].partition("=")[2] or None
    return {
        "name": "Ascend NPU",
        "identity": f"npu:{platform.node()}:{file}",
        "driver": driver,
        "environment": {"ASCEND_RT_VISIBLE_DEVICES": str(index)},
    }


def probe_xpu(index: int) -> dict[str, Any]:
    """An Intel GPU, by its render node."""
    return intel_device("xpu", "Intel GPU", "/sys/class/drm/renderD[0-9]*", index)


def probe_intel_npu(index: int) -> dict[str, Any]:
    """The NPU of an Intel processor, by the device of its driver (intel_vpu)."""
    return intel_device("intel-npu", "Intel NPU", "/sys/class/accel/accel[0-9]*", index)


def intel_device(kind: str, name: str, pattern: str, index: int) -> dict[str, Any]:
    """Of the kernel's devices of a class, the one with this number among Intel's."""
    entries = sorted(Path("/").glob(pattern.removeprefix("/")))
    found = [entry for entry in entries if pci_vendor(entry) == INTEL]
    if index >= len(found):
        raise Absent(f"no {name} with index {index}: {len(found)} of Intel's at {pattern}")
    address = (found[index] / "device").resolve().name
    return {"name": name, "identity": f"{kind}:{platform.node()}:{address}"}


def pci_vendor(entry: Path) -> str | None:
    """The vendor of a device that the kernel lists; None where it is no PCI device."""
    try:
        return (entry / "device" / "vendor").read_text().strip()
    except OSError:
        return None


def probe_mps(index: int) -> dict[str, Any]:
    """The GPU of an Apple processor."""
    if index or platform.system() != "Darwin" or platform.machine() != "arm64":
        raise Absent(f"no Apple GPU with index {index}: this is {platform.system()} on {platform.machine()}")
    return {
        "name": ask("sysctl", "-n", "machdep.cpu.brand_string").strip(),
        "identity": f"mps:{platform.node()}",
        "memory_mb": memory_mb(),
        "driver": platform.mac_ver()[0],
    }


PROBES = {
    "cpu": probe_cpu,
    "cuda": probe_cuda,
    "tpu": probe_tpu,
    "npu": probe_npu,
    "xpu": probe_xpu,
    "intel-npu": probe_intel_npu,
    "mps": probe_mps,
}


def ask(*command: str) -> str:
    """The output of a driver's command. Raises Absent with its last line where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Absent(f"{command[0]} gave no answer in {QUERY_SECONDS} s") from error
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise Absent(f"{command[0]} failed: {said[-1]}")
    return done.stdout


def usable_cores() -> int:
    """Cores that this process may run on, which in a container or a job are fewer than the host's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name_and_flags() -> tuple[str, list[str]]:
    """The processor's name and instruction-set flags, as the kernel tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = told.get("flags") or told.get("Features") or ""
    return told.get("model name", platform.machine()), sorted(flags.split())


def memory_mb() -> float | None:
    """The host's memory in MB (1e6 bytes)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    except (ValueError, OSError):
        return None
