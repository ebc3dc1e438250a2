"""Scenarios: the rate that a server holds, and a batch job's pipeline, with sessions that are known."""

import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from test_profile import CachesItsOutput, ReturnsEarly, measure

from hwfit import catalog
from hwfit.worker import scenarios
from hwfit.worker.errors import Unsupported
from hwfit.worker.sampling import StoppingRule
from hwfit.worker.scenarios import load_generator
from hwfit.worker.scenarios.server import (
    RESOLUTION,
    call_sizes,
    highest_rate,
    predicted_rate,
    simulated_latencies,
)
from jobs import MEASUREMENT, LinearSession, make_job

RULE = StoppingRule(0.02, 0.1, 0.3, ())
CALL_S = 0.002


@pytest.fixture
def loadgen():
    return pytest.importorskip("mlperf_loadgen", reason="mlcommons-loadgen has no wheel for this Python")


def make_server_job(directory, limits, batch_sizes=(1, 4), **measurement):
    job = make_job(directory, batch_sizes=list(batch_sizes), limits_ms=limits)
    cell = job.cell.__dict__ | {"scenario": "server"}
    measurement = MEASUREMENT | {"server_seconds": 2} | measurement
    return make_job(
        directory, cell=cell, batch_sizes=list(batch_sizes), limits_ms=limits, measurement=measurement
    )


class Sleeps(LinearSession):
    """A call takes as long whatever its size."""

    def run(self, placed):
        time.sleep(CALL_S)
        return super().run(placed)


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_calls_are_made_for_the_powers_of_two_and_the_batch_size(largest, sizes):
    assert call_sizes(largest) == sizes


@pytest.mark.parametrize("truth", [0.3, 7.0, 100.0, 4321.0])
@pytest.mark.parametrize("first", [1.0, 100.0, 5000.0])
def test_the_search_brackets_the_highest_rate_that_holds(truth, first):
    good, bad = highest_rate(lambda rate: rate <= truth, first, floor=0.1)
    assert good <= truth < bad
    assert bad / good <= 1 + RESOLUTION


def test_the_search_says_so_when_no_rate_holds():
    tried = []

    def holds(rate):
        tried.append(rate)
        return False

    good, bad = highest_rate(holds, 100.0, floor=1.0)
    assert (good, bad) == (0.0, 1.0)
    assert min(tried) == 1.0


def test_a_simulated_queue_agrees_with_theory():
    """M/D/1: the mean wait is rho s / (2 (1 - rho)) (Pollaczek-Khinchine)."""
    gaps = np.random.default_rng(1).exponential(size=200_000)
    for load in (0.3, 0.7):
        latencies = simulated_latencies(np.cumsum(gaps) / load, {1: 1.0})
        assert latencies.mean() == pytest.approx(1 + load / (2 * (1 - load)), rel=0.05)


def test_whoever_waits_goes_along_in_one_call():
    latencies = simulated_latencies(np.array([0.0, 0.1, 0.2, 0.3]), {1: 1.0, 2: 1.0, 4: 1.0})
    np.testing.assert_allclose(latencies, [1.0, 1.9, 1.8, 1.7])


def test_the_predicted_rate_grows_with_the_batch_size_and_is_zero_where_a_call_is_too_slow():
    alone, together = (
        predicted_rate({1: 0.01}, [(0.99, 0.05)]),
        predicted_rate({1: 0.01, 8: 0.012}, [(0.99, 0.05)]),
    )
    assert 30 < alone < 100 < together < 8 / 0.012
    assert predicted_rate({1: 0.01}, [(0.99, 0.005)]) == 0.0


def test_a_server_finds_a_rate_below_its_capacity(tmp_path, monkeypatch, loadgen):
    job = make_server_job(tmp_path, {"0.9": 40.0})
    profiles, _ = measure(job, monkeypatch, Sleeps)
    rates = []
    for profile in profiles:
        assert profile.status == "ok", profile.reason
        details, metrics = profile.details, profile.metrics
        good, bad = details["rate_that_holds_per_s"], details["rate_that_does_not_per_s"]
        assert bad is None or good < bad
        rates.append(metrics["throughput_samples_per_s"])
        # Calls that overlap nothing cannot answer more than this; sleeps are longer than asked for.
        assert 0 < rates[-1] <= 1.3 * profile.batch_size / CALL_S
        assert metrics["latency_p90_ms"] <= 40
        assert metrics["latency_p50_ms"] >= CALL_S * 1e3
        assert any(probe["verdict"] == "met" for probe in details["probes"])
    assert rates[1] > 1.5 * rates[0]


def test_a_server_that_cannot_hold_any_rate_says_so(tmp_path, monkeypatch, loadgen):
    job = make_server_job(tmp_path, {"0.9": CALL_S * 1e3 / 2}, batch_sizes=(1,), server_seconds=1)
    (profile,), _ = measure(job, monkeypatch, Sleeps)
    assert profile.status == "ok"
    assert profile.metrics.get("throughput_samples_per_s") is None
    assert "no_rate_holds" in [flag.code for flag in profile.flags]


def test_an_error_while_requests_wait_ends_the_test_and_is_told(loadgen):
    calls = []

    def answer(indices):
        calls.append(indices)
        if len(calls) == 3:
            raise RuntimeError("device lost")

    with pytest.raises(RuntimeError, match="device lost"):
        load_generator.serve(answer, 8, 4, rate=500.0, requests=50, most_waiting=100, seed=1)
    assert len(calls) == 3


def test_an_overloaded_server_is_given_up(loadgen):
    arrivals = load_generator.serve(
        lambda _: time.sleep(0.02), 8, 1, rate=2000.0, requests=2000, most_waiting=60, seed=1
    )
    assert not arrivals.is_complete
    assert len(arrivals.latencies_s) < 2000


def test_latencies_count_from_the_scheduled_arrival(loadgen):
    """A server that sleeps through arrivals is charged for their wait."""
    slept = threading.Event()

    def answer(_):
        if not slept.is_set():
            slept.set()
            time.sleep(0.3)

    arrivals = load_generator.serve(answer, 8, 1, rate=100.0, requests=100, most_waiting=100, seed=1)
    assert arrivals.latencies_s[0] >= 0.3
    assert (arrivals.latencies_s[:20] > 0.05).sum() >= 10
    assert np.median(arrivals.latencies_s[60:]) < 0.05


def test_without_loadgen_the_scenario_is_unsupported_and_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(Unsupported, match="mlcommons-loadgen"):
        load_generator.serve(lambda _: None, 8, 1, rate=1.0, requests=1, most_waiting=1, seed=0)


class Device(LinearSession):
    """An accelerator: what is started is done later, in order, while the host goes on."""

    is_asynchronous = True
    most_in_flight = 0

    def __init__(self, weights):
        super().__init__(weights)
        self.flying = 0

    def start(self, placed):
        self.flying += 1
        self.most_in_flight = max(self.most_in_flight, self.flying)
        return placed @ self.weights

    def finish(self, started):
        self.flying -= 1
        return np.array(started)


@pytest.mark.parametrize("session", [LinearSession, Device])
def test_offline_answers_belong_to_their_inputs(tmp_path, session):
    job = make_job(tmp_path, cell=make_job(tmp_path).cell.__dict__ | {"scenario": "offline"})
    device = session(tmp_path / "model" / "weights.safetensors")
    random = np.random.default_rng(0)
    batches = [{"x": random.standard_normal((4, 16)).astype(np.float32)} for _ in range(4)]
    expected = [batch["x"] @ device.weights for batch in batches]
    offline = scenarios.load("offline")(job, device, batches, batches, expected, lambda: None)
    offline.warm_up(0.1, [])
    series = offline.sample(RULE)
    answers = list(series.answers)
    assert len(answers) == len(batches)
    for got, wanted in answers:
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert series.throughput == pytest.approx(4 / series.durations.mean())
    if session is Device:
        assert device.most_in_flight == len(batches) + 1


@pytest.mark.parametrize("scenario", ["single_stream", "offline"])
def test_what_is_repeated_is_counted_and_done_at_the_end(tmp_path, scenario):
    job = make_job(tmp_path, cell=make_job(tmp_path).cell.__dict__ | {"scenario": scenario})
    device = Device(tmp_path / "model" / "weights.safetensors")
    calls = []
    device.run = device.start = lambda placed: calls.append(1) or placed
    device.finish = lambda started: device.done.append(1) or started
    device.done = calls if scenario == "single_stream" else []
    batches = [{"x": np.zeros((4, 16), np.float32)} for _ in range(4)]
    kind = scenarios.load(scenario)
    tried = kind(job, device, batches, [batch["x"] for batch in batches], batches, lambda: None)
    series = tried.sample(RULE)
    tried.repeat(series, 0.0)
    calls.clear()
    device.done.clear()
    started = time.perf_counter()
    samples = tried.repeat(series, 0.1)
    assert time.perf_counter() - started >= 0.1
    assert samples == 4 * len(calls) == 4 * len(device.done)
    assert samples > 0


def test_a_server_repeats_requests_at_the_rate_that_holds(tmp_path, monkeypatch, loadgen):
    job = make_server_job(tmp_path, {"0.9": 40.0})
    device = Sleeps(tmp_path / "model" / "weights.safetensors")
    batches = [{"x": np.zeros((4, 16), np.float32)}] * 2
    server = scenarios.load("server")(job, device, batches, batches, batches, lambda: None)
    series = SimpleNamespace(details={"rate_that_holds_per_s": 50.0})
    started = time.perf_counter()
    assert server.repeat(series, 0.6) == 30
    assert 0.3 < time.perf_counter() - started < 2
    assert server.repeat(SimpleNamespace(details={"rate_that_holds_per_s": 0.0}), 0.6) == 0


def test_offline_is_timed_from_host_to_host_and_has_no_percentiles(tmp_path, monkeypatch):
    class Far(LinearSession):
        def place(self, batch):
            time.sleep(0.002)
            return super().place(batch)

        def fetch(self, output):
            time.sleep(0.003)
            return super().fetch(output)

    job = make_job(tmp_path, cell=make_job(tmp_path).cell.__dict__ | {"scenario": "offline"})
    profiles, _ = measure(job, monkeypatch, Far)
    for profile in profiles:
        assert profile.status == "ok", profile.reason
        assert profile.metrics["latency_p50_ms"] >= 5
        assert "latency_p90_ms" not in profile.metrics
        assert not {"p90_unproven", "p99_unproven"} & {flag.code for flag in profile.flags}


@pytest.mark.parametrize("liar", [CachesItsOutput, ReturnsEarly])
@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_a_liar_is_found_out_in_every_scenario(tmp_path, monkeypatch, liar, scenario):
    job = make_server_job(tmp_path, {"0.9": 40.0})
    job.cell.__dict__["scenario"] = scenario
    profiles, _ = measure(job, monkeypatch, liar)
    for profile in profiles:
        assert profile.status == "incorrect", profile.reason


class SkipsWorkInAQueue(LinearSession):
    """Honest to the evaluation and when it is asked again; zeros while requests are timed."""

    def run(self, placed):
        serving = any(thread.name.endswith("(generate)") for thread in threading.enumerate())
        return np.zeros((len(placed), 4), np.float32) if serving else super().run(placed)


def test_a_server_that_skips_work_while_it_is_timed_is_incorrect(tmp_path, monkeypatch, loadgen):
    (profile,), _ = measure(
        make_server_job(tmp_path, {"0.9": 40.0}, batch_sizes=(2,)), monkeypatch, SkipsWorkInAQueue
    )
    assert profile.status == "incorrect", profile.reason


def test_every_scenario_of_the_catalogue_has_its_module():
    for name in catalog.SCENARIOS:
        assert issubclass(scenarios.load(name), scenarios.Scenario)
