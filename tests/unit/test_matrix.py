"""The matrix: every combination once, each with its reason where it will not be measured."""

import json

import pytest

from hwfit.config import Study
from hwfit.layout import data_files, rule_name
from hwfit.matrix import Plan, power_commands
from studies import DEVICES, make_plan


def statuses(plan):
    return {
        (c.cell.runtime, c.cell.optimization, c.batch_size): (c.status, c.reason) for c in plan.combinations
    }


def test_the_matrix_is_the_product_of_its_lists_in_their_order():
    plan = make_plan(
        matrix={
            "models": ["net"],
            "devices": ["cpu"],
            "optimizations": ["baseline", "prune50"],
            "batch_sizes": [8, 1],
        }
    )
    assert list(statuses(plan)) == [
        (runtime, optimization, size)
        for runtime in ("torch", "tensorflow")
        for optimization in ("baseline", "prune50")
        for size in (8, 1)
    ]
    assert len(plan.cells) == 4


def test_an_excluded_combination_is_a_row_and_is_in_the_files_of_its_cell():
    plan = make_plan(
        matrix={
            "models": ["net"],
            "devices": ["cpu"],
            "batch_sizes": [1, 8],
            "exclude": [{"runtime": "torch", "batch_size": 8}],
        }
    )
    assert statuses(plan)["torch", "baseline", 8] == ("skipped", "excluded")
    assert statuses(plan)["tensorflow", "baseline", 8] == ("", "")
    job = plan.job(plan.cells[0], 0)
    assert job["batch_sizes"] == [1, 8]
    assert job["excluded"] == {"8": "excluded"}


def test_a_cell_that_is_excluded_whole_starts_nothing():
    plan = make_plan(matrix={"models": ["net"], "devices": ["cpu"], "exclude": [{"runtime": "torch"}]})
    assert [cell.runtime for cell in plan.cells] == ["tensorflow"]
    assert statuses(plan)["torch", "baseline", 1] == ("skipped", "excluded")


def test_a_union_of_matrices_has_each_combination_once():
    one = {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1, 8]}
    plan = make_plan(matrix=[one, one | {"batch_sizes": [8, 32]}])
    assert [c.batch_size for c in plan.combinations] == [1, 8, 32]


def test_what_one_matrix_excludes_another_may_ask_for():
    one = {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1, 8]}
    plan = make_plan(matrix=[one | {"exclude": [{"batch_size": 8}]}, one])
    assert [(c.batch_size, c.status) for c in plan.combinations] == [(1, ""), (8, "")]


def test_a_runtime_without_a_source_is_unsupported_and_starts_nothing():
    plan = make_plan(matrix={"models": ["encoder"], "devices": ["cpu"]})
    assert statuses(plan)["tensorflow", "baseline", 1] == (
        "unsupported",
        "models.yaml names no tensorflow source for encoder",
    )
    assert [cell.runtime for cell in plan.cells] == ["torch"]


def test_a_pass_over_the_checkpoint_is_unsupported_where_a_callable_has_weights_of_its_own():
    mine = {"task": "features", "data": "digits", "sources": {}}
    mine["sources"] = {"torch": {"callable": "mine:net"}, "tensorflow": {"callable": "mine:keras_net"}}
    matrix = {"models": ["mine"], "devices": ["cpu"], "optimizations": ["prune50"], "batch_sizes": [1]}
    found = statuses(make_plan(matrix=matrix, models={"mine": mine}))
    assert found["torch", "prune50", 1] == ("", "")
    status, reason = found["tensorflow", "prune50", 1]
    assert status == "unsupported"
    assert "its own weights" in reason


def test_a_pass_that_a_runtime_lacks_is_unsupported_never_a_baseline():
    plan = make_plan(matrix={"models": ["net"], "devices": ["cpu"], "optimizations": ["int8"]})
    assert statuses(plan)["tensorflow", "int8", 1] == (
        "unsupported",
        "quantize_dynamic works in torch, onnxruntime, openvino, not in tensorflow",
    )


def test_a_pass_of_accelerators_says_why_it_is_unsupported_on_a_cpu():
    plan = make_plan(matrix={"models": ["net"], "devices": ["cpu"], "optimizations": ["offload"]})
    reason = "offload works on cuda, xpu, npu, not on cpu: the host's memory is where its weights lie already"
    assert statuses(plan)["torch", "offload", 1] == ("unsupported", reason)


def test_cells_of_one_target_share_their_files_and_mark_what_is_not_theirs():
    plan = make_plan(
        matrix=[
            {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1]},
            {"models": ["encoder"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [4]},
        ]
    )
    assert plan.rectangles["cpu", "torch"] == [1, 4]
    net = next(cell for cell in plan.cells if cell.model == "net")
    assert plan.job(net, 0)["excluded"] == {"4": "not in the matrix"}
    assert [c.batch_size for c in plan.combinations] == [1, 4]


def test_optimizations_with_the_same_artifact_passes_share_the_artifact():
    plan = make_plan()
    assert plan.artifact("prune50") == plan.artifact("prune50-bf16") != ""
    assert plan.artifact("baseline") == plan.artifact("int8") == ""
    assert [step["pass"] for step in plan.session_passes("prune50-bf16")] == ["cast"]


def test_only_what_changes_a_measurement_is_in_a_job():
    plan = make_plan()
    other = make_plan(
        decision={"objective": "latency", "constraints": {"latency_p90_ms": 1}},
        devices={"cpu": {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}, "price_per_hour": 3.0}},
        tracking={"experiment": "another"},
    )
    assert plan.job(plan.cells[0], 0) == other.job(plan.cells[0], 0)
    changed = make_plan(measurement={"relative_ci": 0.05})
    assert plan.job(plan.cells[0], 0) != changed.job(plan.cells[0], 0)


def test_checkpoints_are_made_on_a_cpu_since_an_accelerator_may_be_absent():
    assert make_plan().prepare_environment("net") == "torch-cpu"
    gpu = make_plan(matrix={"models": ["net"], "devices": ["gpu0"]})
    assert gpu.prepare_environment("net") == "torch-cpu"
    assert gpu.environments == {"torch-cpu": [], "torch-cuda": ["gpu0"]}
    tensorflow = make_plan(matrix={"models": ["net"], "devices": ["cpu"], "runtimes": ["tensorflow"]})
    assert tensorflow.environments == {"tensorflow-cpu": ["cpu"], "torch-cpu": []}


def test_the_order_of_cells_is_random_and_the_same_each_time_and_rounds_follow_each_other():
    plan = make_plan(matrix={"models": ["net"], "devices": ["cpu"], "optimizations": ["baseline", "prune50"]})
    first = [plan.priority(cell, 0) for cell in plan.cells]
    assert first == [plan.priority(cell, 0) for cell in plan.cells]
    assert max(plan.priority(cell, 1) for cell in plan.cells) < min(first)


def test_a_plan_read_back_from_its_file_is_the_same_plan():
    plan = make_plan(
        matrix={"models": ["net"], "devices": ["cpu"], "optimizations": ["int8", "prune50-bf16"]}
    )
    again = Plan(Study.model_validate(json.loads(json.dumps(plan.to_dict()))["study"]))
    assert again.to_dict() == plan.to_dict()
    assert again.job(plan.cells[0], 0) == plan.job(plan.cells[0], 0)


def test_credentials_of_a_tracking_uri_are_in_no_plan():
    plan = make_plan(tracking={"uri": "https://me:secret@mlflow.example/path"})
    text = json.dumps(plan.to_dict())
    assert "secret" not in text
    assert "https://***@mlflow.example/path" in text


def test_no_two_names_share_the_name_of_a_rule():
    names = ["a-b", "a_b", "a.b", "ab"]
    assert len({rule_name(name) for name in names}) == len(names)
    assert all(rule_name(name).isidentifier() for name in names)


def own(**sources):
    """A model of the user's own, with what each runtime has of it."""
    return {"own": {"task": "features", "data": "mine.npz", "sources": sources}}


@pytest.mark.parametrize(
    ("sources", "environment"),
    [
        ({"tensorflow": {"callable": "a:b"}}, "tensorflow-cpu"),
        ({"mindspore": {"callable": "a:b"}}, "mindspore-cpu"),
        ({"onnxruntime": {"onnx": "a.onnx"}, "openvino": {"onnx": "a.onnx"}}, "onnxruntime-cpu"),
        ({"openvino": {"onnx": "a.onnx"}}, "onnxruntime-cpu"),
        ({"torch": {"callable": "a:b"}, "onnxruntime": {"export": "torch"}}, "torch-cpu"),
        ({"tensorflow": {"callable": "a:b"}, "torch": {"callable": "a:b"}}, "torch-cpu"),
        ({"tensorflow": {"zoo": "lenet-5"}}, "torch-cpu"),
    ],
)
def test_a_model_is_prepared_where_its_reference_can_be_made(sources, environment):
    runtimes = {name: f"{name}-cpu" for name in sources}
    devices = {"host": {"accelerator": "cpu", "runtimes": runtimes}}
    matrix = {"models": ["own"], "devices": ["host"]}
    plan = make_plan(models=own(**sources), devices=devices, matrix=matrix)
    assert plan.prepare_environment("own") == environment
    assert set(plan.environments) == {*runtimes.values(), environment}


@pytest.mark.parametrize(
    ("data", "files"),
    [
        ("digits", ["results/data/digits.npz"]),
        ("my data.npz", ["my data.npz"]),
        ("signature", []),
        ("photos/", ["results/data/models/net.npz"]),
        ("a text.txt", ["results/data/models/net.npz"]),
        ("t10k-images-idx3-ubyte.gz", ["results/data/models/net.npz"]),
    ],
)
def test_data_lie_where_they_are_or_are_made_into_arrays(data, files):
    assert data_files("net", data) == files


LANGUAGE = {
    "smollm": {"task": "generation", "data": "python-topics", "sources": {"torch": {"zoo": "smollm2"}}}
}


def test_language_models_have_scenarios_of_their_own_and_others_have_not():
    plan = make_plan(
        models=LANGUAGE,
        matrix={"models": ["net", "smollm"], "devices": ["cpu"], "runtimes": ["torch"]},
        measurement={
            "scenarios": ["single_stream", "offline"],
            "generation": [{}, {"prompt_tokens": 512, "output_tokens": 64}],
        },
    )
    found = [(cell.model, cell.scenario) for cell in plan.cells]
    assert found == [
        ("net", "single_stream"),
        ("net", "offline"),
        ("smollm", "generate-128-32"),
        ("smollm", "generate-512-64"),
    ]
    assert plan.cells[3].path == "cpu/torch/smollm/baseline/generate-512-64"


def test_another_length_leaves_the_jobs_of_the_first_as_they_are():
    def job(*lengths):
        measurement = {"generation": [{"output_tokens": length} for length in lengths]}
        plan = make_plan(
            models=LANGUAGE,
            matrix={"models": ["smollm"], "devices": ["cpu"], "runtimes": ["torch"]},
            measurement=measurement,
        )
        return plan.job(plan.cells[0], 0)

    assert job(32) == job(32, 64)


def test_an_exclusion_may_name_a_length():
    plan = make_plan(
        models=LANGUAGE,
        matrix={
            "models": ["smollm"],
            "devices": ["cpu"],
            "runtimes": ["torch"],
            "exclude": [{"scenario": "generate-512-64"}],
        },
        measurement={"generation": [{}, {"prompt_tokens": 512, "output_tokens": 64}]},
    )
    assert [c.status for c in plan.combinations] == ["", "skipped"]


def test_a_job_says_how_energy_is_metered():
    metered = {"power_command": "read-meter", "power_scope": "node"}
    plan = make_plan(devices={"cpu": DEVICES["cpu"] | metered}, measurement={"energy_seconds": 20})
    asked = {"seconds": 20, "scope": "node", "interval_s": 1.0}
    energy = plan.job(plan.cells[0], 0)["energy"]
    assert energy | asked == energy
    assert energy["command"].startswith("sha256:"), "a command may hold a password"
    again = Plan(Study.model_validate_json(plan.public_study()))
    assert again.job(plan.cells[0], 0)["energy"] == energy, "the same by the plan that is kept"
    assert power_commands(plan.study) == {"cpu": "read-meter"}
    plain = make_plan()
    assert plain.job(plain.cells[0], 0)["energy"] == {"seconds": 5}
