"""Which meter a device gets, what several of them tell together, and what an inventory says of them."""

import json
import re
from pathlib import Path

import pytest

from hwfit.records import Flag, write_json
from hwfit.worker import composite, meters
from hwfit.worker.inventory import take_inventory
from hwfit.worker.meters import METERS, Command, Reading, Unmetered, find
from hwfit.worker.meters.joined import JoinedMeter


class PlantedMeter:
    """A meter that tells what it was given."""

    resolution_s = 2.0

    def __init__(self, source="counter:nvml", scope="board", energy_j=10.0, seconds=4.0, flags=()):
        self.source, self.scope = source, scope
        self.told = Reading(source, scope, energy_j, seconds, flags, {"samples": 3})
        self.calls = []

    def __enter__(self):
        self.calls.append("enter")
        return self

    def __exit__(self, *exception):
        self.calls.append("exit")

    def reading(self):
        return self.told


@pytest.fixture
def planted(monkeypatch):
    """Modules by name, in place of the real ones; a string is the reason of an absence."""

    def plant(**found):
        class Module:
            def __init__(self, name):
                self.name = name

            def meter(self, address):
                if isinstance(found[self.name], str):
                    raise Unmetered(found[self.name])
                return found[self.name]

        real = meters.importlib.import_module
        monkeypatch.setattr(
            meters.importlib,
            "import_module",
            lambda name: Module(name.rpartition(".")[2]) if name.rpartition(".")[2] in found else real(name),
        )

    return plant


def test_several_meters_are_one_whose_energy_is_the_sum():
    parts = [PlantedMeter(energy_j=10.0), PlantedMeter("counter:rapl", "package", 5.5)]
    joined = JoinedMeter(parts)
    assert (joined.source, joined.scope) == ("counter:nvml+counter:rapl", "board+package")
    with joined:
        pass
    reading = joined.reading()
    assert reading.energy_j == pytest.approx(15.5)
    assert reading.seconds == 4.0
    assert [each["energy_j"] for each in reading.details["members"]] == [10.0, 5.5]
    assert [part.calls for part in parts] == [["enter", "exit"]] * 2
    json.dumps(reading.details, allow_nan=False)


def test_equal_sources_and_scopes_are_named_once():
    joined = JoinedMeter([PlantedMeter(), PlantedMeter()])
    assert (joined.source, joined.scope) == ("counter:nvml", "board")


def test_one_member_without_energy_leaves_none_and_its_flag_says_why():
    flag = Flag("energy_lost", "GPU is lost")
    joined = JoinedMeter([PlantedMeter(), PlantedMeter(energy_j=None, flags=(flag,))])
    with joined:
        pass
    reading = joined.reading()
    assert reading.energy_j is None
    assert reading.flags == (flag,)


def test_a_composite_has_the_sum_of_its_members_meters(planted):
    planted(rapl=PlantedMeter("counter:rapl", "package"), nvml=PlantedMeter())
    (meter,), absences = find("cpu:host:name:8 + cuda:GPU-1")
    assert (meter.source, meter.scope) == ("counter:rapl+counter:nvml", "package+board")
    assert absences == []


def test_a_composite_with_one_member_unmetered_has_no_meter_but_every_reason(planted):
    planted(rapl="root alone may read it", nvml=PlantedMeter())
    found, absences = find("cpu:host:name:8 + cuda:GPU-1 + tpu:host:/dev/accel0")
    assert found == []
    assert [absence.source for absence in absences] == ["rapl", "tpu"]
    assert absences[0].reason == "root alone may read it"


def test_a_device_is_metered_once_however_many_members_share_it(planted):
    only = PlantedMeter()
    planted(nvml=only)
    assert find("cuda:GPU-1 + cuda:GPU-1") == ([only], [])


@pytest.mark.parametrize("identity", ["tpu:host:/dev/accel0", "mps:host", "xpu:host:0000:03:00.0"])
def test_a_kind_of_device_without_a_meter_names_the_way_out(identity):
    found, (absence,) = find(identity)
    assert found == []
    assert absence.source == identity.partition(":")[0]
    assert "power_command" in absence.reason


def test_a_device_that_is_not_there_has_neither_meters_nor_reasons():
    assert find(None) == ([], [])


def test_an_external_meter_goes_before_what_the_machine_has(planted):
    planted(rapl=PlantedMeter())
    (meter,), absences = find("cpu:host:name:8", command=Command("echo 5", "node", 1.0))
    assert (meter.source, meter.scope, absences) == ("sampled:command", "node", [])


@pytest.mark.parametrize("module", sorted(set(METERS.values())))
def test_every_registered_module_has_a_meter(module):
    imported = meters.importlib.import_module(f"hwfit.worker.meters.{module}")
    assert callable(imported.meter)


def test_the_page_on_energy_names_every_source_and_every_flag():
    root = Path(__file__).parents[2]
    page = (root / "docs" / "energy.md").read_text()
    code = "".join(path.read_text() for path in Path(meters.__file__).parent.glob("*.py"))
    flags = set(re.findall(r'"(energy_[a-z]+(?:_[a-z]+)*)"', code)) - {
        "energy_accumulator",
        "energy_j",
        "energy_uj",
    }
    sources = set(re.findall(r'"((?:counter|sampled):[a-z-]+)"', code))
    assert len(flags) > 5 and len(sources) > 5
    assert [name for name in sorted(flags | sources) if f"`{name}`" not in page] == []


# --- Inventory ------------------------------------------------------------------------------------------


def taken(tmp_path, **probe):
    path = tmp_path / "probe.json"
    write_json(path, {"status": "ok", "reason": "", "identity": None, "locks": [str(tmp_path)]} | probe)
    return take_inventory("cpu", path, {})


def test_an_inventory_names_what_can_be_read_and_why_the_rest_cannot(tmp_path, planted):
    planted(rapl=PlantedMeter("counter:rapl"))
    inventory = taken(tmp_path, identity="cpu:host:name:8")
    assert (inventory["sensors"], inventory["sensors_unread"]) == (["counter:rapl"], [])
    planted(rapl="root alone may read it")
    inventory = taken(tmp_path, identity="cpu:host:name:8")
    assert inventory["sensors"] == []
    (unread,) = inventory["sensors_unread"]
    assert (unread["source"], unread["reason"]) == ("rapl", "root alone may read it")


def test_an_absent_devices_inventory_names_no_sensors(tmp_path):
    inventory = taken(tmp_path, status="unavailable", reason="no such device")
    assert (inventory["sensors"], inventory["sensors_unread"]) == ([], [])


def test_a_composites_inventory_names_sensors_where_every_member_has_one():
    rapl = {"sensors": ["counter:rapl"], "sensors_unread": []}
    nothing = {"sensors": [], "sensors_unread": [{"source": "tpu", "reason": "none is known"}]}
    assert composite.united_sensors([rapl, {"sensors": ["counter:nvml"]}]) == {
        "sensors": ["counter:nvml", "counter:rapl"],
        "sensors_unread": [],
    }
    assert composite.united_sensors([rapl, nothing, nothing]) == {
        "sensors": [],
        "sensors_unread": [{"source": "tpu", "reason": "none is known"}],
    }
