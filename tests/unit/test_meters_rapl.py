"""The energy of processors and their memory, by a powercap tree that is not the kernel's."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from hwfit.worker.meters import find

IDENTITY = "cpu:host:Some Processor:8"
RANGE_UJ = 262_143_328_850


class PowerCap:
    """A tree as /sys/class/powercap: zones by their folders' names."""

    def __init__(self, root):
        self.root = root

    def zone(self, folder, name, energy_uj=1_000_000, range_uj=RANGE_UJ, limit_uw=125_000_000):
        path = self.root / folder
        path.mkdir()
        files = {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": range_uj}
        for file, value in (files | {"constraint_0_power_limit_uw": limit_uw}).items():
            (path / file).write_text(f"{value}\n")

    def count(self, folder, energy_uj):
        (self.root / folder / "energy_uj").write_text(f"{energy_uj}\n")


@pytest.fixture
def tree(monkeypatch):
    # Not below pytest's own folder, which root alone may enter.
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    monkeypatch.setenv("HWFIT_POWERCAP", str(root))
    yield PowerCap(root)
    shutil.rmtree(root)


def counted(tree, seconds=10.0, identity=IDENTITY, **end_uj):
    """The reading of counters that changed meanwhile; folders with underscores for colons."""
    (meter,), absences = find(identity)
    assert absences == []
    times = iter([7.0, 7.0 + seconds])
    meter.now_s = lambda: next(times)
    with meter:
        for folder, energy_uj in end_uj.items():
            tree.count("intel-rapl:" + folder.removeprefix("z").replace("_", ":"), energy_uj)
    return meter.reading()


def reason():
    meters, (absence,) = find(IDENTITY)
    assert meters == []
    assert absence.source == "rapl"
    return absence.reason


@contextlib.contextmanager
def as_nobody():
    """Without root's right to read everything, if the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_all_packages_of_the_host_are_summed_each_with_its_memory(tree):
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0:0", "core")
    tree.zone("intel-rapl:0:1", "dram")
    tree.zone("intel-rapl:1", "package-1")
    reading = counted(tree, z0=501_000_000, z0_0=401_000_000, z0_1=31_000_000, z1=201_000_000)
    assert (reading.source, reading.scope) == ("counter:rapl", "package")
    assert reading.energy_j == pytest.approx(500 + 30 + 200)
    assert reading.details["joules"] == pytest.approx(
        {"package-0": 500.0, "package-0 dram": 30.0, "package-1": 200.0}
    )
    assert reading.seconds == 10.0


def test_the_platform_and_the_second_register_of_a_package_are_not_added(tree):
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:1", "psys")
    tree.zone("intel-rapl-mmio:0", "package-0")
    reading = counted(tree, z0=101_000_000, z1=301_000_000)
    assert reading.energy_j == pytest.approx(100.0)
    assert reading.details["domains"] == ["package-0"]


def test_the_second_register_serves_where_the_first_is_not_there(tree):
    tree.zone("intel-rapl-mmio:0", "package-0")
    (meter,), _ = find(IDENTITY)
    assert meter.source == "counter:rapl"


def test_memory_that_was_never_counted_is_left_out(tree):
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0:0", "dram", energy_uj=0)
    assert counted(tree, z0=101_000_000).details["domains"] == ["package-0"]


def test_a_counter_that_wraps_goes_on(tree):
    tree.zone("intel-rapl:0", "package-0", energy_uj=RANGE_UJ - 300_000_000)
    reading = counted(tree, z0=200_000_000)
    assert reading.energy_j == pytest.approx(500.0, rel=0.01)
    assert reading.flags == ()


@pytest.mark.parametrize(
    ("end_uj", "seconds", "code"),
    [
        (5_000_000, 2000.0, "energy_wrapped"),
        (0, 10.0, "energy_jump"),
        (1_000_000, 10.0, "energy_frozen"),
        (2_000_000, 0.01, "energy_too_short"),
        ("", 10.0, "energy_lost"),
    ],
    ids=["wrapped more than once", "set back", "frozen", "too short", "unreadable"],
)
def test_a_counter_that_cannot_be_believed_leaves_no_energy(tree, end_uj, seconds, code):
    tree.zone("intel-rapl:0", "package-0")
    reading = counted(tree, seconds, z0=end_uj)
    assert reading.energy_j is None
    assert [flag.code for flag in reading.flags] == [code]


def test_cores_of_one_host_are_metered_once(tree):
    tree.zone("intel-rapl:0", "package-0")
    halves = " + ".join(f"{IDENTITY}:cores {cores}" for cores in ("0, 1", "2, 3"))
    assert counted(tree, identity=halves, z0=501_000_000).energy_j == pytest.approx(500.0)


def test_a_host_without_zones_says_what_to_do(tree):
    assert "modprobe intel_rapl_msr" in reason()
    assert "power_command" in reason()


def test_a_counter_for_root_alone_is_said_with_the_remedy(tree):
    tree.zone("intel-rapl:0", "package-0")
    (tree.root / "intel-rapl:0" / "energy_uj").chmod(0)
    with as_nobody():
        said = reason()
    assert f"{tree.root}/intel-rapl:0/energy_uj may be read by root alone" in said
    assert "chmod a+r" in said


def test_permission_withdrawn_in_the_middle_leaves_no_energy(tree):
    tree.zone("intel-rapl:0", "package-0")
    (meter,), _ = find(IDENTITY)
    meter.__enter__()
    (tree.root / "intel-rapl:0" / "energy_uj").chmod(0)
    with as_nobody():
        meter.__exit__(None, None, None)
    reading = meter.reading()
    assert (reading.energy_j, [flag.code for flag in reading.flags]) == (None, ["energy_permission"])
