"""A real study in which a batch is split over two halves of the cpu, of two runtimes."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from frameworks import run_python
from projects import Project

CORES = sorted(os.sched_getaffinity(0))
SIZES = [1, 7, 64]


def half(core):
    runtimes = {"torch": "torch-cpu", "openvino": "openvino-cpu"}
    return {"accelerator": "cpu", "cores": [core], "runtimes": runtimes, "price_per_hour": 1.0}


@pytest.fixture(scope="module")
def split(python_of, tmp_path_factory, first_run):
    """A project with two halves, a pair of unlike runtimes, one of like ones, and one of a core too many."""
    if len(CORES) < 2:
        pytest.skip("two halves of a cpu need two cores")
    python_of("openvino-cpu")
    project = Project(tmp_path_factory.mktemp("split") / "a project")
    project.take_over(first_run[1])
    torch, openvino = {"device": "left", "runtime": "torch"}, {"device": "right", "runtime": "openvino"}
    matrix = {"models": ["lenet-300-100"], "optimizations": ["baseline", "prune50"], "batch_sizes": SIZES}
    project.configure(
        {
            "matrix": [
                matrix | {"devices": ["left"], "runtimes": ["torch"], "optimizations": ["baseline"]},
                matrix | {"devices": ["pair"], "optimizations": ["baseline", "prune50", "channels-last"]},
                matrix | {"devices": ["torches", "absent"], "optimizations": ["one-thread"]},
            ],
            "measurement": {"max_seconds": 0.5, "min_seconds": 0.2, "relative_ci": 0.2, "confirm_rounds": 0},
        },
        devices={
            "left": half(CORES[0]),
            "right": half(CORES[1]),
            "nowhere": half(60_000),
            "pair": {"members": [torch, openvino]},
            "torches": {"members": [torch, openvino | {"runtime": "torch"}]},
            "absent": {"members": [torch, {"device": "nowhere", "runtime": "torch"}]},
        },
        optimizations={
            "baseline": {"passes": []},
            "prune50": {"passes": [{"pass": "prune", "amount": 0.5}]},
            "channels-last": {"passes": [{"pass": "channels_last"}]},
            "one-thread": {"passes": [{"pass": "threads", "count": 1}]},
        },
    )
    project.run()
    return project


def rows(project, **wanted):
    table = project.table()
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table.set_index("batch_size")


def record(project, device, batch_size):
    folder = "lenet-300-100/baseline/single_stream/round0"
    path = project.directory / f"results/profiles/{device}/split/{folder}/bs{batch_size}.json"
    return json.loads(path.read_text())


def test_outputs_of_unlike_runtimes_are_those_of_the_reference_at_every_batch_size(split):
    found = rows(split, device="pair", optimization="baseline")
    assert list(found.index) == SIZES
    assert (found["status"] == "ok").all()
    assert (found["runtime"] == "split").all()
    assert (found["fidelity"] == 1).all()
    assert (found["relative_error"] < 1e-4).all()
    assert found["accuracy"].between(0.9, 1).all()
    assert (found["runtime_version"] == found["runtime_version"].iloc[0]).all()
    assert "torch 2" in found["runtime_version"].iloc[0]
    assert "openvino 20" in found["runtime_version"].iloc[0]


def test_the_record_says_who_did_what(split):
    for size in SIZES:
        found = record(split, "pair", size)
        told = found["details"]["split"]
        sizes = told["batch_sizes"][str(size)]
        assert sum(sizes["shares"].values()) == size
        assert set(told["members"]) == {"left", "right"}
        assert sizes["hand_over_us"] > 0
        assert isinstance(sizes["pays"], bool)
        assert found["context"]["threads"]["left: intra_op"] == 1
    assert found["context"]["threads"]["right: inference"] == 1
    one = record(split, "pair", 1)["details"]["split"]["batch_sizes"]["1"]
    assert sorted(one["shares"].values()) == [0, 1]


def test_an_optimization_applies_to_every_member_or_the_row_names_the_one_that_cannot(split):
    pruned = rows(split, device="pair", optimization="prune50")
    assert (pruned["status"] == "ok").all()
    assert (pruned["nonzero_parameters"] < pruned["parameters"] * 0.51).all()
    assert (pruned["fidelity"] < 1).all()
    refused = rows(split, device="pair", optimization="channels-last")
    assert (refused["status"] == "unsupported").all()
    assert refused["reason"].str.startswith("member right: channels_last works in").all()


def test_threads_are_no_change_of_the_model(split):
    found = rows(split, device="torches", optimization="one-thread")
    assert (found["status"] == "ok").all()
    assert (found["relative_error"] < 1e-4).all()


def test_a_member_that_is_not_there_makes_rows_that_name_it(split):
    found = rows(split, device="absent")
    assert (found["status"] == "unavailable").all()
    assert found["reason"].str.startswith("member nowhere: cores 60000 are not among those").all()


def test_a_composite_costs_what_its_members_do(split):
    found = rows(split, device="pair", optimization="baseline")
    expected = 2.0 / 3600 / found["throughput_samples_per_s"] * 1e6
    np.testing.assert_allclose(found["cost_usd_per_million"], expected)


def test_the_report_says_whether_splitting_pays(split):
    page = (split.directory / "reports" / "hardware-selection.html").read_text()
    trusted = split.table().query("valid and optimization == 'baseline'").groupby("device")["batch_size"]
    sizes = {device: set(found) for device, found in trusted}
    # On a machine that others use nothing may be said.
    is_known = bool(sizes.get("pair", set()) & sizes.get("left", set()))
    assert ("the throughput of its best member alone" in page) == is_known


def test_a_model_is_judged_for_a_pipeline_of_two_devices(split, python_of):
    code = """
import json, sys
from hwfit.__main__ import main
main(["pipeline", "--model", "lenet-300-100", "--devices", "left", "right", "--batch-size", "7",
      "--seconds", "0.2", "--run", "--output", "pipeline.json"])
print(open("pipeline.json").read().replace(chr(10), " "))
"""
    found = run_python(sys.executable, code, cwd=Path(split.directory))
    names = [block["name"] for block in found["layers"][0]["blocks"]]
    assert names == ["flatten0", "fc1", "relu2", "fc2", "relu4", "fc3"]
    assert all(block["is_cut"] for block in found["layers"][0]["blocks"])
    assert found["pipeline"]["behind"] in names[:-1]
    assert found["pays"] == (found["gain_over_single"] > 1 and found["gain_over_split"] > 1)
    assert 0 < found["link"]["latency_s"] < 0.1
    measured = found["measured"]
    assert measured["relative_error"] < 1e-5
    assert measured["batches"] >= 20
    # Batches come out no sooner than the later part alone can take.
    assert measured["interval_s"] > 0.5 * found["pipeline"]["stages_s"][1]
