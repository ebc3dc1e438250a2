"""What Snakemake is told of the guided search: looks, the verdicts between, and what is then measured."""

from __future__ import annotations

import json
from types import SimpleNamespace

from hwfit.records import Cell, write_json
from hwfit.search.plan import SearchPlan, going_by_the_last_verdict
from hwfit.search.records import ROUNDS, Verdict, verdict_file
from studies import make_plan

MATRIX = {
    "models": ["net"],
    "devices": ["cpu"],
    "runtimes": ["torch"],
    "optimizations": ["baseline", "bf16", "int8"],
    "batch_sizes": [1, 8, 32],
    "exclude": [{"optimization": "int8", "batch_size": 32}],
}
BASELINE = Cell("net", "cpu", "torch", "baseline", "single_stream")
BF16 = Cell("net", "cpu", "torch", "bf16", "single_stream")
LAST = ROUNDS - 1


def make_search(search="guided", **measurement):
    return SearchPlan(make_plan(matrix=MATRIX, measurement={"search": search} | measurement))


class Checkpoints:
    """Snakemake's, once every round is judged."""

    @property
    def choose_round(self):
        return SimpleNamespace(get=lambda round: SimpleNamespace(output=[verdict_file(round)]))


def judged(tmp_path, monkeypatch, go_on):
    monkeypatch.chdir(tmp_path)
    for round in range(ROUNDS):
        write_json(verdict_file(round), Verdict(round, go_on, go_on, []).to_dict())


def jobs(search, round=0):
    wildcards = SimpleNamespace(model="net", round=str(round))
    told = json.loads(search.jobs_of("cpu", "torch")(wildcards))
    return [told["common"] | job for job in told["jobs"]]


def test_an_exhaustive_search_asks_for_what_the_plan_asks_for():
    search = make_search("exhaustive")
    assert search.first_looks(Checkpoints()) == search.plan.first_looks()
    wildcards = SimpleNamespace(model="net", optimization="bf16", scenario="single_stream", round="0")
    job = search.job_of("cpu", "torch")(wildcards)
    assert job == search.plan.job_of("cpu", "torch")(wildcards)


def test_a_look_is_short_meters_nothing_and_lies_apart_from_profiles():
    job = next(job for job in jobs(make_search(max_seconds=5.0)) if job["cell"] == BASELINE.__dict__)
    assert job["measurement"]["screen_seconds"] < 0.5
    assert job["energy"] == {"seconds": 0}
    assert job["profiles"] == "results/screening"
    assert job["batch_sizes"] == [1, 32]
    assert job["measurement"]["evaluated_batch_size"] == 32


def test_a_cell_is_looked_at_within_the_batch_sizes_that_it_has():
    (int8,) = [job for job in jobs(make_search()) if job["cell"]["optimization"] == "int8"]
    assert int8["batch_sizes"] == [1, 8]
    assert int8["excluded"] == {}


def test_the_first_round_looks_at_every_target_later_ones_at_what_is_left(tmp_path, monkeypatch):
    search = make_search()
    looks = search.looks(Checkpoints())
    assert looks(SimpleNamespace(round="0")) == ["results/search/round0/cpu/torch/net.json"]
    judged(tmp_path, monkeypatch, {})
    assert looks(SimpleNamespace(round="1")) == []
    judged(tmp_path, monkeypatch, {BF16: [8]})
    assert looks(SimpleNamespace(round="1")) == ["results/search/round1/cpu/torch/net.json"]


def test_only_what_goes_on_is_measured_and_only_at_its_batch_sizes(tmp_path, monkeypatch):
    search = make_search()
    judged(tmp_path, monkeypatch, {BF16: [8, 32]})
    verdict, *profiles = search.first_looks(Checkpoints())(SimpleNamespace())
    assert verdict == verdict_file(LAST)
    assert {path.split("/")[5] for path in profiles} == {"bf16"}
    wildcards = SimpleNamespace(model="net", optimization="bf16", scenario="single_stream", round="0")
    job = json.loads(search.job_of("cpu", "torch")(wildcards))
    assert list(job["excluded"]) == ["1"]
    assert "guided search" in job["excluded"]["1"]


def test_a_verdict_that_has_changed_is_read_again(tmp_path, monkeypatch):
    judged(tmp_path, monkeypatch, {BF16: [8]})
    assert list(going_by_the_last_verdict()) == [BF16]
    judged(tmp_path, monkeypatch, {BASELINE: [8]})
    assert list(going_by_the_last_verdict()) == [BASELINE]
