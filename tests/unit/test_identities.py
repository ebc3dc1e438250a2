"""Rows of a class of nodes: judged by the inventory of the hardware that they met, and never by another's."""

import zipfile

import pandas as pd
import pytest

from hwfit.archive import write_archive
from hwfit.collect import make_table, read_inventories, read_rows
from hwfit.records import Cell, Profile, profile_path, write_json
from hwfit.report.findings import environment
from hwfit.report.language import Language
from hwfit.report.roofline import roofs
from studies import make_plan

CELL = Cell("net", "gpu", "torch", "baseline", "single_stream")
GPU = {"accelerator": "cuda", "runtimes": {"torch": "torch-cuda"}}
MATRIX = {"models": ["net"], "devices": ["gpu"], "batch_sizes": [1, 8]}
METRICS = {
    "latency_p50_ms": 1.0,
    "throughput_samples_per_s": 1000.0,
    "flops_per_sample": 1e9,
    "model_size_mb": 1.0,
    "activation_mb_per_sample": 1.0,
    "samples": 9,
}


class Class:
    """A study of one class of nodes, with what its jobs left behind."""

    def __init__(self, directory, slurm=True):
        self.directory = directory
        self.plan = make_plan(
            matrix=MATRIX, devices={"gpu": GPU | ({"slurm": {}} if slurm else {})}
        ).to_dict()

    def inventory(self, identity, gflops, first=False):
        peaks = {"matmul_float32_gflops": gflops, "memory_copy_gb_s": 1e6}
        place = "" if first else f"identities/{identity}/"
        torch = {"status": "ok", "runtime_version": "2.13", "reference_ms": [1.0, 1.1]}
        found = {
            "identity": identity,
            "name": f"GPU of {identity}",
            "peaks": peaks,
            "runtimes": {"torch": torch},
        }
        write_json(self.directory / f"results/devices/gpu/{place}inventory.json", found)

    def round(self, identity, batch_size=1, number=0, status="ok"):
        context = {"device": {"identity": identity, "name": f"GPU of {identity}"}}
        metrics = METRICS | {"samples": 9} if status == "ok" else {}
        cell = CELL.__dict__.values()
        profile = Profile(*cell, batch_size, number, status, metrics=metrics, context=context)
        path = profile_path(self.directory / "results/profiles", CELL, number, batch_size)
        write_json(path, profile.to_dict())

    def confirm(self, *rounds):
        entry = {"cell": CELL.__dict__, "batch_size": 1, "rounds": list(rounds)}
        write_json(self.directory / "results/confirmations/gpu.json", {"contenders": [entry]})

    def lines(self):
        rows = read_rows(self.plan, self.directory)
        return make_table(rows, self.plan, read_inventories(self.plan, self.directory)).to_dict("records")


@pytest.fixture
def nodes(tmp_path):
    found = Class(tmp_path)
    found.inventory("a", 1e4, first=True)
    found.inventory("b", 1e5)
    return found


def test_each_row_has_the_share_of_the_peaks_of_its_own_hardware(nodes):
    nodes.round("a", 1)
    nodes.round("b", 8)
    one, eight = nodes.lines()
    assert (one["device_name"], eight["device_name"]) == ("GPU of a", "GPU of b")
    assert one["utilization"] == pytest.approx(0.1)
    assert eight["utilization"] == pytest.approx(0.01)


def test_rounds_on_several_identities_are_flagged_and_share_no_peaks(nodes):
    nodes.round("a", 1, 0)
    nodes.round("a", 1, 1)
    nodes.round("b", 1, 2)
    nodes.confirm(1, 2)
    line = nodes.lines()[0]
    assert line["flags"] == "several_identities"
    assert line["device_name"] == "GPU of a; GPU of b"
    assert line["runtime_version"] == "2.13"
    assert line["bound"] is None
    assert pd.isna(line["utilization"])
    assert line["valid"]


def test_rounds_on_one_identity_are_not_flagged(nodes):
    nodes.round("b", 1, 0)
    nodes.round("b", 1, 1)
    nodes.confirm(1)
    assert nodes.lines()[0]["flags"] == ""


def test_hardware_without_an_inventory_has_no_peaks_of_another(nodes):
    nodes.round("c")
    line = nodes.lines()[0]
    assert line["device_name"] == "GPU of c"
    assert pd.isna(line["utilization"])


def test_a_row_that_failed_names_the_hardware_that_it_failed_on(nodes):
    nodes.round("b", status="oom")
    assert nodes.lines()[0]["device_name"] == "GPU of b"


def test_an_inventory_of_an_identity_that_cannot_be_read_is_said_and_left_out(nodes, capsys):
    broken = nodes.directory / "results/devices/gpu/identities/b/inventory.json"
    broken.write_text("{")
    nodes.round("b")
    assert pd.isna(nodes.lines()[0]["utilization"])
    assert str(broken) in capsys.readouterr().err


def test_the_report_describes_each_identity_and_draws_the_limits_of_none_for_all(nodes):
    inventories = read_inventories(nodes.plan, nodes.directory)
    told = environment(inventories, Language("en"))
    assert [each["device"] for each in told] == ["gpu (a)", "gpu (b)"]
    assert roofs(inventories) == []


def test_the_report_describes_a_class_that_met_one_identity_as_a_device(tmp_path):
    one = Class(tmp_path)
    one.inventory("a", 1e4, first=True)
    inventories = read_inventories(one.plan, tmp_path)
    assert [each["device"] for each in environment(inventories, Language("en"))] == ["gpu"]
    assert [each["gflops"] for each in roofs(inventories)] == [1e4]


def test_a_device_that_is_one_is_judged_by_its_inventory_whatever_else_lies_there(tmp_path):
    one = Class(tmp_path, slurm=False)
    one.inventory("a", 1e4, first=True)
    one.inventory("b", 1e5)
    one.round("b")
    assert one.lines()[0]["utilization"] == pytest.approx(0.1)


def test_the_archive_holds_the_inventory_of_every_identity(nodes, tmp_path):
    nodes.round("b")
    write_archive(nodes.plan, tmp_path / "archive.zip", nodes.directory)
    with zipfile.ZipFile(tmp_path / "archive.zip") as archive:
        assert {"devices/gpu/inventory.json", "devices/gpu/identities/b/inventory.json"} <= set(
            archive.namelist()
        )
