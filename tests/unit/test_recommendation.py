"""From records to recommendation.json: of its published form, with each model's own wishes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np

from hwfit.collect import read_rows
from hwfit.layout import PROFILES
from hwfit.recommendation import recommend
from hwfit.records import Cell, Profile, profile_path, write_json
from studies import make_plan

SCHEMA = json.loads((Path(__file__).parents[2] / "workflow/schemas/recommendation.schema.json").read_text())
MATRIX = {
    "models": ["net", "encoder"],
    "devices": ["cpu", "gpu0"],
    "runtimes": ["torch"],
    "optimizations": ["baseline", "bf16"],
    "batch_sizes": [1, 8],
}
# Milliseconds of a call with one sample; eight take four times as long.
TIMES = {("cpu", "baseline"): 10.0, ("cpu", "bf16"): 6.0, ("gpu0", "baseline"): 2.0, ("gpu0", "bf16"): 1.5}


def recommended(directory, monkeypatch, *, cost=None, devices=None, **decision):
    """The recommendation on made-up records of MATRIX, and its table."""
    monkeypatch.chdir(directory)
    plan = make_plan(matrix=MATRIX, decision=decision, cost=cost or {}, devices=devices).to_dict()
    for combination in plan["combinations"]:
        cell = Cell(**{name: combination[name] for name in Cell.__dataclass_fields__})
        size = combination["batch_size"]
        p50 = TIMES[cell.device, cell.optimization] * (1 if size == 1 else 4)
        profile = Profile(
            *cell.__dict__.values(),
            batch_size=size,
            round=0,
            status="ok",
            metrics={
                "latency_p50_ms": p50,
                "throughput_samples_per_s": size / p50 * 1e3,
                "peak_memory_mb": 500.0 if cell.device == "gpu0" else 100.0,
                "fidelity": 0.99,
                "measured_s": 1.0,
            },
            details={"median_standard_error": 0.001},
        )
        path = profile_path(PROFILES, cell, 0, size)
        write_json(path, profile.to_dict())
        np.savez(path.with_suffix(".npz"), durations_s=np.full(400, p50 / 1e3))
    inventories = {device: {"memory_mb": 900.0, "runtimes": {}} for device in ("cpu", "gpu0")}
    table, found = recommend(read_rows(plan), plan, inventories)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(found, allow_nan=False)))
    return found, table


def chosen(found):
    return {
        answer["model"]: answer["chosen"]
        and (answer["chosen"]["device"], answer["chosen"]["optimization"], answer["chosen"]["batch_size"])
        for answer in found["models"]
    }


def test_it_has_the_published_form_and_the_best_of_each_model(tmp_path, monkeypatch):
    found, table = recommended(tmp_path, monkeypatch)
    assert chosen(found) == dict.fromkeys(MATRIX["models"], ("gpu0", "bf16", 8))
    assert set(table["verdict"]) >= {"chosen", "dominated"}
    assert found["sets"] == []


def test_each_model_may_want_something_else(tmp_path, monkeypatch):
    found, _ = recommended(
        tmp_path,
        monkeypatch,
        constraints={"latency_p90_ms": 30},
        per_model={
            "net": {"objective": "latency", "constraints": {"max_memory_mb": 200}},
            "encoder": {"objective": {"throughput": 0.5, "latency": 0.5}},
        },
    )
    assert chosen(found)["net"] == ("cpu", "bf16", 1)
    net, encoder = found["models"]
    assert net["constraints"] == {"latency_p90_ms": 30, "max_memory_mb": 200}
    assert (encoder["objective"], encoder["weights"]) == ("mix", {"throughput": 0.5, "latency": 0.5})
    assert encoder["constraints"] == {"latency_p90_ms": 30}
    loosened = [c for c in net["sensitivity"] if c["direction"] == "looser" and c["name"] == "max_memory_mb"]
    assert loosened[0]["then"]["device"] == "gpu0"


def test_a_share_of_the_baseline_follows_the_row(tmp_path, monkeypatch):
    limit = {"constraints": {"latency_p50_ms": "60% of baseline"}}
    _, table = recommended(tmp_path, monkeypatch, **limit)
    rows = table[(table["model"] == "net") & (table["device"] == "cpu")].set_index(
        ["optimization", "batch_size"]
    )
    # bf16 takes just so long at both sizes, and the baseline takes all of its own time.
    for size in (1, 8):
        assert "too close to" in rows.loc[("bf16", size), "reason"]
        assert rows.loc[("baseline", size), "reason"].endswith("over by 67%")


def test_a_baseline_that_is_named_stands_fixed(tmp_path, monkeypatch):
    limit = {"constraints": {"latency_p50_ms": "50% of baseline"}}
    found, table = recommended(tmp_path, monkeypatch, **limit, baseline={"device": "cpu", "batch_size": 1})
    # 5 ms of the cpu's 10: on the gpu one sample takes less, eight take more.
    assert chosen(found)["net"] == ("gpu0", "bf16", 1)
    assert set(table[table["batch_size"] == 8]["verdict"]) <= {"rejected", "unproven"}


def test_models_that_share_a_device_get_an_answer_of_their_own(tmp_path, monkeypatch):
    found, _ = recommended(tmp_path, monkeypatch, share_device={"box": ["net", "encoder"]})
    (box,) = found["sets"]
    # On the gpu they take 1,000 MB together, and it has 900.
    assert (box["verdict"], box["device"]) == ("chosen", "cpu")
    assert [line["model"] for line in box["choices"]] == ["net", "encoder"]
    assert box["others"] == [{"device": "gpu0", "reason": "together they take 1000 MB, it has 900 MB"}]


OWNED_CPU = {
    "cpu": {
        "accelerator": "cpu",
        "runtimes": {"torch": "torch-cpu", "tensorflow": "tensorflow-cpu"},
        "owned": {"price": 8760.0, "years": 10, "power_w": 100.0},
    }
}


def test_an_owned_device_stands_beside_a_rented_one(tmp_path, monkeypatch):
    cost = {"currency": "EUR", "electricity_per_kwh": 0.5}
    found, _ = recommended(tmp_path, monkeypatch, cost=cost, devices=OWNED_CPU, objective="cost")
    # 0.10 of capital and 0.05 of electricity an hour, a quarter of the speed of what costs 2.
    assert chosen(found)["net"] == ("cpu", "bf16", 8)
    row = found["models"][0]["chosen"]
    assert (row["currency"], row["cost_usd_per_million"]) == ("EUR", None)
    np.testing.assert_allclose(row["price_per_hour"], 0.15)
    np.testing.assert_allclose(row["cost_per_million"], 0.15 / 3600 / row["throughput_samples_per_s"] * 1e6)
    prices = {price["device"]: price for price in found["models"][0]["prices"]}
    np.testing.assert_allclose([prices["cpu"]["wins_below"], prices["gpu0"]["wins_below"]], [0.5, 0.6])
    (dearer,) = [c for c in found["models"][0]["sensitivity"] if c["direction"] == "dearer"]
    assert dearer["text"].startswith(
        "cpu wins while it costs less than €0.50/h (now €0.15/h); beyond it gpu0/"
    )


def test_a_cost_that_cannot_be_known_says_why_it_cannot_win(tmp_path, monkeypatch):
    unrated = {"cpu": OWNED_CPU["cpu"] | {"owned": {"price": 8760.0, "years": 10}}}
    cost = {"electricity_per_kwh": 0.5}
    found, table = recommended(tmp_path, monkeypatch, cost=cost, devices=unrated, objective="cost")
    assert chosen(found)["net"] == ("gpu0", "bf16", 8)
    (reason,) = set(table[table["device"] == "cpu"]["reason"])
    assert reason.startswith("cost was not measured (unknown: electricity has a price, but power was neither")
