"""The verdicts on rounds of looks, from records to rows."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from hwfit.collect import forget_transient, read_rows
from hwfit.layout import PROFILES, device_at
from hwfit.recommendation import OF_WHAT_WAS_MEASURED, recommend
from hwfit.records import Cell, RecordError, profile_path, write_json
from hwfit.search.records import ROUNDS, given_up_in, read_verdict, summary_file, verdict_file, with_given_up
from hwfit.search.rounds import choose_round
from hwfit.search.summary import describe_search
from looks import make_profile, write_look
from studies import make_plan

SCHEMA = json.loads((Path(__file__).parents[2] / "workflow/schemas/recommendation.schema.json").read_text())
# Milliseconds a sample.
TIMES = {"baseline": 10.0, "bf16": 9.0, "prune50": 100.0}
MATRIX = {
    "models": ["net"],
    "devices": ["cpu"],
    "runtimes": ["torch"],
    "optimizations": list(TIMES),
    "batch_sizes": [1, 8, 32],
}


def make_searched(**study):
    return make_plan(matrix=MATRIX, measurement={"search": "guided"}, **study).to_dict()


def cell_of(optimization):
    return Cell("net", "cpu", "torch", optimization, "single_stream")


def searched(directory, plan, times=None):
    """Run the rounds on made-up looks; returns the last verdict."""
    looked = {cell_of(name): [1, 32] for name in TIMES}
    for round in range(ROUNDS):
        for cell, sizes in looked.items():
            for size in sizes:
                median = (times or TIMES)[cell.optimization] * size
                write_look(directory, make_profile(cell, size, median, round=round))
        verdict = choose_round(plan, round, directory)
        write_json(directory / verdict_file(round), verdict.to_dict())
        looked = verdict.look_again
    return verdict


def going(verdict):
    return {cell.optimization: sizes for cell, sizes in verdict.go_on.items()}


def test_a_later_round_looks_at_what_is_left_and_keeps_what_was_given_up(tmp_path):
    verdict = searched(tmp_path, make_searched())
    assert set(going(verdict)) == {"baseline", "bf16"}
    assert {each.cell.optimization for each in verdict.given_up} == {"prune50"}
    first = read_verdict(tmp_path / verdict_file(0))
    assert first.given_up == verdict.given_up


def test_a_round_without_the_verdict_before_it_says_so(tmp_path):
    with pytest.raises(RecordError, match=r"round0\.json"):
        choose_round(make_searched(), 1, tmp_path)


def test_what_relative_limits_look_at_is_measured_though_it_cannot_win(tmp_path):
    times = {"baseline": 100.0, "bf16": 9.0, "prune50": 100.0}
    assert set(going(searched(tmp_path / "free", make_searched(), times))) == {"bf16"}
    plan = make_searched(decision={"constraints": {"latency_p50_ms": "90% of baseline"}})
    verdict = searched(tmp_path / "limited", plan, times)
    assert set(going(verdict)) == {"baseline", "bf16"}
    assert going(verdict)["baseline"] == going(verdict)["bf16"]


def test_what_was_given_up_is_a_row_with_the_reason(tmp_path):
    plan = make_searched()
    searched(tmp_path, plan)
    rows = {(row.cell.optimization, row.batch_size): row for row in read_rows(plan, tmp_path)}
    assert rows["prune50", 8].status == "skipped"
    assert "the leader cpu/torch/bf16" in rows["prune50", 8].reason
    assert rows["bf16", 8].status == "crashed", "its profile is not there yet"


def test_an_export_says_itself_what_was_given_up(tmp_path):
    plan = make_searched()
    searched(tmp_path, plan)
    told = {(e["optimization"], e["batch_size"]): e for e in with_given_up(plan, tmp_path)["combinations"]}
    assert told["prune50", 8]["status"] == "skipped"
    assert "the leader" in told["prune50", 8]["reason"]
    assert told["bf16", 8]["status"] == ""


def test_combinations_of_other_sites_are_not_looked_at(tmp_path):
    plan = make_searched()
    elsewhere = [entry | {"device": device_at("cpu", "lab")} for entry in plan["combinations"]]
    verdict = searched(tmp_path, plan | {"combinations": [*plan["combinations"], *elsewhere]})
    assert {cell.device for cell in verdict.go_on} == {"cpu"}


def test_an_exhaustive_search_takes_no_notice_of_verdicts(tmp_path):
    searched(tmp_path, make_searched())
    assert given_up_in(make_plan(matrix=MATRIX).to_dict(), tmp_path) == {}


def test_the_recommendation_tells_of_the_search_and_claims_nothing_of_the_rest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make_searched(decision={"constraints": {"latency_p50_ms": 1000.0}})
    verdict = searched(tmp_path, plan)
    for cell, sizes in verdict.go_on.items():
        for size in sizes:
            profile = make_profile(cell, size, TIMES[cell.optimization] * size)
            write_json(profile_path(PROFILES, cell, 0, size), profile.to_dict())
    write_json(summary_file("cpu", "torch", "net", 0), {"records": [], "cells": 3, "wall_s": 2.5})
    _, found = recommend(read_rows(plan), plan, {}, (), describe_search(plan))
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(found, allow_nan=False)))
    assert found["search"]["cells"] == 3
    assert (found["search"]["dominated"], found["search"]["infeasible"]) == (2, 1)
    assert found["search"]["seconds"] == 2.5
    changes = found["models"][0]["sensitivity"]
    assert changes
    assert all(OF_WHAT_WAS_MEASURED in change["text"] for change in changes)


def test_a_look_that_may_go_better_is_forgotten_with_the_verdicts_that_rest_on_it(tmp_path):
    plan = make_searched()
    searched(tmp_path, plan)
    write_look(tmp_path, make_profile(cell_of("bf16"), 1, status="timeout", reason="no result within 3 s"))
    removed = {path.relative_to(tmp_path).as_posix() for path in forget_transient(tmp_path)}
    assert verdict_file(0) in removed
    assert "results/screening/cpu/torch/net/bf16/single_stream/round0/bs1.json" in removed


@pytest.mark.parametrize(
    ("training", "largest"),
    [({}, 1), ({"plus_inferences": 1e6}, 32), ({"plus_inferences": 1e6, "objective": "energy"}, 32)],
)
def test_what_may_be_cheapest_for_many_inferences_stays_beside_what_answers_soonest(
    tmp_path, training, largest
):
    plan = make_searched(decision={"objective": "latency", "training": training})
    assert max(going(searched(tmp_path, plan))["bf16"]) == largest
