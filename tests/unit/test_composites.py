"""Composite devices in a config: what is refused, and what the plan makes of them."""

import pytest
from test_config_errors import message

from hwfit.collect import Row, make_table
from hwfit.config import Study
from hwfit.config_checks import check_config, check_devices
from hwfit.launch import launch_snippet
from hwfit.records import Cell, Profile
from hwfit.schemas import ADAPTERS
from studies import make_plan

CPU = {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu", "tensorflow": "tensorflow-cpu"}}
DEVICES = {
    "left": CPU | {"cores": [0]},
    "right": CPU | {"cores": [1, 2], "runtimes": {"tensorflow": "tensorflow-cpu"}},
    "pair": {"members": [{"device": "left", "runtime": "torch"}, "right"]},
}
MATRIX = {"models": ["net"], "devices": ["pair"], "batch_sizes": [1, 8]}


def findings(**devices):
    return list(check_devices(ADAPTERS["devices"].validate_python(DEVICES | devices)))


def test_a_composite_that_makes_sense_is_taken():
    assert findings() == []


@pytest.mark.parametrize(
    ("devices", "place", "reason"),
    [
        (
            {"pair": {"members": ["left", "right"]}},
            ("pair", "members", 0),
            "the runtimes torch, tensorflow",
        ),
        (
            {"pair": {"members": ["right", {"device": "left", "runtime": "mindspore"}]}},
            ("pair", "members", 1, "runtime"),
            "is 'mindspore', which device 'left' does not list; it lists: torch, tensorflow",
        ),
        (
            {"right": DEVICES["right"] | {"cores": [0, 1]}},
            ("pair", "members", 1),
            "is 'right', which shares core 0 with 'left'",
        ),
        (
            {"right": CPU | {"runtimes": {"tensorflow": "tensorflow-cpu"}}},
            ("pair", "members", 1),
            "shares the cores of the host; give each its own `cores` with 'left'",
        ),
        ({"both": {"members": ["pair", "right"]}}, ("both", "members", 0), "is 'pair', a composite itself"),
        (
            {"pair": DEVICES["pair"] | {"parallel": "torch-distributed"}},
            ("pair", "members", 1),
            "runs tensorflow; allowed with parallel: torch-distributed: torch",
        ),
        (
            {"gpu0": {"accelerator": "cuda", "cores": [0], "runtimes": {"torch": "torch-cuda"}}},
            ("gpu0", "cores"),
            "is for the accelerator cpu, and this is cuda",
        ),
    ],
)
def test_a_composite_that_makes_no_sense_is_refused(devices, place, reason):
    ((path, text),) = findings(**devices)
    assert path == place
    assert reason in text


def test_two_gpus_are_two_and_one_gpu_twice_is_not():
    gpus = {
        f"gpu{i}": {"accelerator": "cuda", "index": i, "runtimes": {"torch": "torch-cuda"}} for i in (0, 1)
    }
    assert findings(**gpus, both={"members": ["gpu0", "gpu1"]}) == []
    gpus["gpu1"]["index"] = 0
    ((_, text),) = findings(**gpus, both={"members": ["gpu0", "gpu1"]})
    assert "shares cuda 0 with 'gpu0'" in text


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ({"members": ["left"]}, "pair.members is a list; allowed: a list, at least two"),
        ({"members": ["left", "lefd"]}, "is 'lefd', which is not in devices.yaml"),
        (
            {"members": ["left", {"device": "right", "runtime": "split"}]},
            "runtime is 'split'; allowed",
        ),
        (
            {"members": ["left", "right"], "index": 1},
            "pair.index is not a known key; allowed: members",
        ),
        (CPU | {"cores": []}, "pair.cores is an empty list"),
        (CPU | {"cores": [0, 0]}, "pair.cores[1] is 0 again"),
        (CPU | {"cores": [-1]}, "pair.cores[0] is -1; allowed: a whole number from 0"),
    ],
)
def test_a_faulty_entry_is_told_where_it_is(tmp_path, device, expected):
    assert expected in message(tmp_path, "devices", DEVICES | {"pair": device})


def test_a_composite_has_one_runtime_and_its_members_are_probed_with_it():
    plan = make_plan(devices=DEVICES, matrix=MATRIX)
    assert plan.targets == [("pair", "split")]
    assert plan.composites == {"pair": [("left", "torch"), ("right", "tensorflow")]}
    assert list(plan.hardware) == ["left", "right"]
    assert (plan.runtimes_of("left"), plan.runtimes_of("right")) == (["torch"], ["tensorflow"])
    assert plan.environments == {"tensorflow-cpu": ["right"], "torch-cpu": ["left"]}
    assert plan.environment("pair", "split") == "torch-cpu"
    assert len(plan.environment_files("pair", "split")) == 2


def test_a_job_says_what_each_member_opens():
    plan = make_plan(devices=DEVICES, matrix=MATRIX)
    (cell,) = plan.cells
    job = plan.job(cell, 0)
    left, right = job["members"]
    assert (job["accelerator"], job["cell"]["runtime"]) == ("composite", "split")
    assert (left["runtime"], left["cores"], left["threads"]) == ("torch", [0], 1)
    assert (right["runtime"], right["cores"], right["threads"]) == ("tensorflow", [1, 2], 2)
    assert right["probe_file"] == "results/devices/right/probe.json"


def test_the_job_of_a_plain_device_says_nothing_of_members_or_cores():
    plan = make_plan(matrix=MATRIX | {"devices": ["cpu"]})
    assert not {"members", "cores"} & set(plan.job(plan.cells[0], 0))


def test_what_one_member_cannot_do_makes_the_row_unsupported_and_names_it():
    plan = make_plan(devices=DEVICES, matrix=MATRIX | {"optimizations": ["baseline", "channels-last"]})
    reasons = {c.cell.optimization: (c.status, c.reason) for c in plan.combinations}
    assert reasons["baseline"] == ("", "")
    status, reason = reasons["channels-last"]
    assert status == "unsupported"
    assert reason.startswith("member right: channels_last works in torch")


def test_a_runtime_of_the_matrix_is_none_of_a_composites():
    study = make_plan(devices=DEVICES, matrix=MATRIX | {"runtimes": ["torch"]}).study
    ((_, text),) = check_config(study.config, study.devices)
    assert "device 'pair' does not list; it lists: split" in text


@pytest.mark.parametrize(
    ("prices", "own", "expected"),
    [((1.0, 2.0), None, 3.0), ((1.0, 2.0), 2.5, 2.5), ((1.0, None), None, None)],
)
def test_a_composite_costs_its_own_price_or_its_members(prices, own, expected):
    devices = {
        name: DEVICES[name] | {"price_per_hour": price}
        for name, price in zip(("left", "right"), prices, strict=True)
    }
    plan = make_plan(
        devices=DEVICES | devices | {"pair": DEVICES["pair"] | {"price_per_hour": own}}, matrix=MATRIX
    )
    cell = plan.cells[0]
    metrics = {"latency_p50_ms": 1.0, "throughput_samples_per_s": 1000.0}
    profile = Profile(*cell.__dict__.values(), batch_size=1, round=0, status="ok", metrics=metrics)
    (line,) = make_table([Row(cell, 1, "ok", first=profile, rounds=[profile])], plan.to_dict(), {}).to_dict(
        "records"
    )
    wanted = expected and pytest.approx(expected / 3600 / 1000 * 1e6)
    assert line["cost_usd_per_million"] == wanted


def test_a_chosen_composite_comes_with_code_that_opens_it():
    plan = make_plan(devices=DEVICES, matrix=MATRIX)
    snippet = launch_snippet(Row(plan.cells[0], 8, "ok"), plan)
    compile(snippet["code"], "launch", "exec")
    assert "members=[{'device': 'left'" in snippet["code"]
    assert snippet["environment"] == "torch-cpu"


def test_the_plan_survives_its_file():
    plan = make_plan(devices=DEVICES, matrix=MATRIX)
    again = Study.model_validate(plan.to_dict()["study"])
    assert again == plan.study


def test_a_cell_of_a_plain_device_has_no_members():
    plan = make_plan(devices=DEVICES, matrix=MATRIX)
    assert plan.member_cells(Cell("net", "cpu", "torch", "baseline", "single_stream")) == []


def test_torch_distributed_drives_members_of_one_kind():
    torch = {"runtimes": {"torch": "torch-cpu"}}
    devices = {"left": CPU | torch | {"cores": [0]}, "right": CPU | torch | {"cores": [1]}}
    pair = {"members": ["left", "right"], "parallel": "torch-distributed"}
    assert findings(**devices, pair=pair) == []
    devices["right"] = {"accelerator": "xpu", "runtimes": {"torch": "torch-xpu"}}
    ((path, text),) = findings(**devices, pair=pair)
    assert path == ("pair", "parallel")
    assert text == "is for members of one kind, cpu or cuda; these are cpu, xpu"
    plan = make_plan(devices=DEVICES | {"pair": pair} | devices, matrix=MATRIX)
    assert {member["parallel"] for member in plan.job(plan.cells[0], 0)["members"]} == {"torch-distributed"}
