"""A language model in a folder of the user's, from Snakemake to the table; and the folder when it changes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from frameworks import run_python
from hwfit.collect import read_rows
from hwfit.config import Study
from hwfit.launch import launch_snippet
from hwfit.matrix import Plan
from hwfit.records import read_json
from projects import Project

MAKE = """
import sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(int(sys.argv[2]))
LlamaForCausalLM(
    LlamaConfig(
        vocab_size=200, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128,
    )
).save_pretrained(sys.argv[1])
print("{}")
"""


@pytest.fixture(scope="module")
def project(python_of, tmp_path_factory, first_run) -> Project:
    project = Project(tmp_path_factory.mktemp("language") / "a project")
    project.take_over(first_run[1])
    make_folder(project, python_of("torch-cpu"), seed=0)
    np.savez(project.directory / "text.npz", tokens=np.random.default_rng(0).integers(0, 200, 4000))
    source = {"huggingface": "a model"}
    models = {"mine": {"task": "generation", "data": "text.npz", "sources": {"torch": source}}}
    matrix = {
        "models": ["mine"],
        "devices": ["cpu"],
        "runtimes": ["torch"],
        "optimizations": ["baseline", "bf16"],
    }
    measurement = {
        "generation": [{"prompt_tokens": 16, "output_tokens": 4}, {"prompt_tokens": 8, "output_tokens": 8}]
    }
    project.configure(
        {
            "matrix": matrix | {"batch_sizes": [1, 2]},
            "measurement": measurement
            | {"min_seconds": 0.2, "max_seconds": 0.5, "relative_ci": 0.2, "confirm_rounds": 0},
            "decision": {"constraints": {"time_to_first_token_ms": 60_000, "max_perplexity_increase": 0.5}},
        },
        models=models,
    )
    project.run()
    return project


def make_folder(project: Project, python: str, seed: int) -> None:
    run_python(python, MAKE, str(project.directory / "a model"), str(seed))


def test_each_length_has_its_rows_and_its_answer(project):
    table = project.table()
    assert len(table) == 2 * 2 * 2
    assert (table["status"] == "ok").all(), table["reason"].tolist()
    assert set(table["scenario"]) == {"generate-16-4", "generate-8-8"}
    answers = project.recommendation()["models"]
    assert [answer["scenario"] for answer in answers] == ["generate-16-4", "generate-8-8"]
    assert {answer["verdict"] for answer in answers} <= {"chosen", "provisional", "none"}
    assert "8 written to each" in answers[1]["summary"]


def test_the_columns_of_language_models_agree_with_each_other(project):
    for _, row in project.table().iterrows():
        _, prompt, output = row["scenario"].split("-")
        assert row["prefill_tokens_per_s"] == pytest.approx(
            row["batch_size"] * int(prompt) / row["time_to_first_token_ms"] * 1e3
        )
        assert row["decode_tokens_per_s"] == pytest.approx(
            row["batch_size"] / row["time_per_output_token_ms"] * 1e3
        )
        width = 2 if row["optimization"] == "bf16" else 4
        cached = 2 * 2 * 2 * 8 * (int(prompt) + int(output)) * width * row["batch_size"]
        assert row["kv_cache_mb"] == pytest.approx(cached / 1e6)
        assert row["perplexity"] > 100
        assert row["fidelity"] > 0.8


def test_the_report_shows_them(project):
    page = (project.directory / "reports" / "hardware-selection.html").read_text()
    assert "First token, ms" in page
    assert "language model" in page


def test_the_launch_code_of_a_language_model_runs_as_it_stands(project, monkeypatch):
    monkeypatch.chdir(project.directory)
    plan = read_json("results/plan.json")
    row = next(row for row in read_rows(plan) if row.cell.scenario == "generate-8-8" and row.batch_size == 2)
    launch = launch_snippet(row, Plan(Study.model_validate(plan["study"])))
    code = launch["code"] + "import json\nprint(json.dumps(list(outputs.shape)))\n"
    assert run_python(launch["python"], code, cwd=project.directory) == [2, 8]


def test_a_folder_that_changes_is_measured_again(project, python_of):
    assert "Nothing to be done" in project.run()
    before = project.table().set_index(["optimization", "scenario", "batch_size"])["perplexity"]
    card = json.loads((project.directory / "results/models/mine/card.json").read_text())
    make_folder(project, python_of("torch-cpu"), seed=1)
    project.run()
    after = project.table().set_index(["optimization", "scenario", "batch_size"])["perplexity"]
    assert (before != after).all()
    again = json.loads((project.directory / "results/models/mine/card.json").read_text())
    assert again["code_sha256"] != card["code_sha256"]
