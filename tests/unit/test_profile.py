"""The measuring worker: what it measures, and the liars it must not believe."""

import io
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from hwfit.records import TRUST_BREAKING_FLAGS, Flag, read_json, read_profile, write_json
from hwfit.worker import conditions, runtimes, sampling
from hwfit.worker import profile as worker
from hwfit.worker.errors import Unavailable, Unsupported
from jobs import CLASSES, MEASUREMENT, LinearRuntime, LinearSession, make_job


def measure(job, monkeypatch, session=LinearSession):
    """Run the worker in this process with a session of a given class; returns its profiles and events."""
    monkeypatch.setattr(runtimes, "load", lambda name: LinearRuntime(session))
    monkeypatch.setattr(worker, "WARM_UP_SECONDS", 0.2)
    monkeypatch.setattr(conditions.Conditions.__init__, "__defaults__", (0.01,))
    events = io.StringIO()
    worker.profile(job, events)
    said = [json.loads(line) for line in events.getvalue().splitlines()]
    said = [event for event in said if event["event"] != "alive"]
    return [read_profile(job.path(batch_size)) for batch_size in job.batch_sizes], said


def test_an_honest_session_gives_figures_that_agree_with_each_other(tmp_path, monkeypatch):
    job = make_job(tmp_path)
    (one, eight), events = measure(job, monkeypatch)
    assert [(e["event"], e["batch_size"]) for e in events] == [
        ("begin", 1),
        ("row", 1),
        ("begin", 8),
        ("row", 8),
    ]
    for profile in (one, eight):
        metrics = profile.metrics
        assert profile.status == "ok"
        assert (
            metrics["latency_p50_ci_low_ms"] <= metrics["latency_p50_ms"] <= metrics["latency_p50_ci_high_ms"]
        )
        assert metrics["accuracy"] == metrics["fidelity"] == 1.0
        assert metrics["accuracy_drop"] == 0.0
        assert metrics["model_size_mb"] == pytest.approx(16 * CLASSES * 4 / 1e6)
        assert metrics["peak_memory_mb"] > 1
        with np.load(job.path(profile.batch_size).with_suffix(".npz")) as stored:
            durations = stored["durations_s"]
        assert len(durations) == metrics["samples"]
        assert np.median(durations) * 1e3 == pytest.approx(metrics["latency_p50_ms"])
        assert profile.batch_size / durations.mean() == pytest.approx(metrics["throughput_samples_per_s"])
        assert set(profile.fingerprints) == {"subject", "protocol", "context", "energy"}


def test_the_time_of_a_call_is_that_of_run_alone(tmp_path, monkeypatch):
    class Slow(LinearSession):
        def place(self, batch):
            time.sleep(0.002)
            return super().place(batch)

        def run(self, placed):
            time.sleep(0.005)
            return super().run(placed)

        def fetch(self, output):
            time.sleep(0.002)
            return super().fetch(output)

    (one, _), _ = measure(make_job(tmp_path), monkeypatch, Slow)
    # A sleep is never shorter than asked for; place and fetch would add 4 ms.
    assert 5 <= one.metrics["latency_p50_ms"] < 9


class CachesItsOutput(LinearSession):
    """Computes the first inputs of each shape, and gives that output ever after."""

    def run(self, placed):
        self.known = getattr(self, "known", {})
        return self.known.setdefault(placed.shape, super().run(placed))


class SkipsWorkWhileTimed(LinearSession):
    """Honest until it has been called often enough to be timed."""

    calls = 0

    def run(self, placed):
        self.calls += 1
        return super().run(placed) if self.calls < 150 else np.zeros((len(placed), CLASSES), np.float32)


class ReturnsEarly(LinearSession):
    """Hands out a buffer that is not filled yet."""

    def run(self, placed):
        return np.full((len(placed), CLASSES), np.nan, np.float32)


class OtherWeights(LinearSession):
    """Runs another model than the one it was given."""

    def run(self, placed):
        return placed @ self.weights[::-1]


class RemembersItsInputs(LinearSession):
    """Computes each input once, slowly, and looks it up ever after."""

    def run(self, placed):
        self.known = getattr(self, "known", {})
        if placed.tobytes() not in self.known:
            time.sleep(0.002)
            self.known[placed.tobytes()] = super().run(placed)
        return self.known[placed.tobytes()]


class ComputesElsewhere(LinearSession):
    """Asked for one device, answers from another."""

    def accelerator_of(self, output):
        return "cuda"


LIARS = [
    CachesItsOutput,
    SkipsWorkWhileTimed,
    ReturnsEarly,
    OtherWeights,
    RemembersItsInputs,
    ComputesElsewhere,
]


@pytest.mark.parametrize("liar", LIARS)
def test_a_liar_is_incorrect_and_has_no_figures(tmp_path, monkeypatch, liar):
    profiles, _ = measure(make_job(tmp_path), monkeypatch, liar)
    for profile in profiles:
        assert profile.status == "incorrect", profile.reason
        assert profile.metrics == {"predicted_memory_mb": None}


def test_an_honest_session_beside_a_busy_neighbour_is_no_liar(tmp_path, monkeypatch):
    """Once it was timed, something else takes the cores: calls on new inputs take long, on known ones too."""

    class HasABusyNeighbour(LinearSession):
        is_busy = False

        def run(self, placed):
            if self.is_busy:
                time.sleep(0.003)
            return super().run(placed)

    def sample_then_be_disturbed(*arguments):
        HasABusyNeighbour.is_busy = False
        taken = sample(*arguments)
        HasABusyNeighbour.is_busy = True
        return taken

    sample = sampling.sample
    monkeypatch.setattr(sampling, "sample", sample_then_be_disturbed)
    (profile,), _ = measure(make_job(tmp_path, batch_sizes=[1]), monkeypatch, HasABusyNeighbour)
    assert profile.status == "ok", profile.reason
    assert profile.metrics["latency_p50_ms"] < 1


def test_a_compressed_session_may_differ_and_says_by_how_much(tmp_path, monkeypatch):
    class Coarse(LinearSession):
        def run(self, placed):
            return placed @ np.round(self.weights)

    job = make_job(tmp_path, passes=[{"pass": "cast", "dtype": "bfloat16"}])
    (one, _), _ = measure(job, monkeypatch, Coarse)
    assert one.status == "ok"
    assert 0.5 < one.metrics["fidelity"] < 1
    assert one.metrics["accuracy_drop"] == pytest.approx(1 - one.metrics["accuracy"])
    assert one.metrics["relative_error"] > 0.01


def test_out_of_memory_becomes_a_row_and_larger_batches_are_skipped(tmp_path, monkeypatch):
    class Small(LinearSession):
        def run(self, placed):
            if len(placed) >= 8:
                raise MemoryError("no room for 8")
            return super().run(placed)

    profiles, _ = measure(make_job(tmp_path, batch_sizes=[1, 8, 16, 32]), monkeypatch, Small)
    assert [(p.status, p.reason) for p in profiles] == [
        ("ok", ""),
        ("oom", "no room for 8"),
        ("skipped", "implied by oom at 8"),
        ("skipped", "implied by oom at 8"),
    ]


def test_after_a_cuda_error_the_process_leaves_the_other_batch_sizes_to_another(tmp_path, monkeypatch):
    class Poisoned(LinearSession):
        def run(self, placed):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(runtimes, "load", lambda name: LinearRuntime(Poisoned))
    job = make_job(tmp_path, batch_sizes=[1, 8])
    worker.profile(job, io.StringIO())
    assert read_profile(job.path(1)).status == "crashed"
    assert not job.path(8).exists()


def test_what_a_runtime_cannot_do_is_unsupported_with_its_reason(tmp_path, monkeypatch):
    class Cannot(LinearSession):
        def __init__(self, weights):
            raise Unsupported("no kernel for this on that")

    profiles, _ = measure(make_job(tmp_path), monkeypatch, Cannot)
    assert {(p.status, p.reason) for p in profiles} == {("unsupported", "no kernel for this on that")}


def test_an_error_at_one_batch_size_leaves_the_others_alone(tmp_path, monkeypatch):
    class DislikesEight(LinearSession):
        def run(self, placed):
            if len(placed) == 8:
                raise ValueError("eight\nis too many")
            return super().run(placed)

    profiles, _ = measure(make_job(tmp_path, batch_sizes=[1, 8, 16]), monkeypatch, DislikesEight)
    assert [p.status for p in profiles] == ["ok", "crashed", "ok"]
    assert profiles[1].reason == "ValueError: eight"
    assert any("eight" in line for line in profiles[1].details["traceback"])


def test_batches_larger_than_the_evaluation_set_are_filled_and_count_each_sample_once(tmp_path, monkeypatch):
    (profile,), _ = measure(make_job(tmp_path, batch_sizes=[100]), monkeypatch)
    assert profile.status == "ok"
    assert profile.metrics["accuracy"] == 1.0


def test_later_rounds_take_their_accuracy_from_the_first(tmp_path, monkeypatch):
    profiles, _ = measure(make_job(tmp_path, round=2), monkeypatch)
    assert profiles[0].status == "ok"
    assert "accuracy" not in profiles[0].metrics


class Disturbed(conditions.Conditions):
    """Conditions that were bad the first times."""

    seen = 0
    bad = 1

    def flags(self):
        if not hasattr(self, "number"):
            type(self).seen += 1
            self.number = type(self).seen
        return [Flag("foreign_load", "others used 60%", 0.6)] if self.number <= self.bad else []


@pytest.mark.parametrize(("repeats", "attempts", "disturbed"), [(0, 1, True), (1, 2, False), (3, 2, False)])
def test_a_disturbed_attempt_is_repeated_and_every_attempt_is_kept(
    tmp_path, monkeypatch, repeats, attempts, disturbed
):
    monkeypatch.setattr(worker, "Conditions", type("Fresh", (Disturbed,), {"seen": 0}))
    measurement = MEASUREMENT | {"repeats": repeats}
    job = make_job(tmp_path, batch_sizes=[1], measurement=measurement)
    (profile,), _ = measure(job, monkeypatch)
    assert profile.attempts == attempts
    # The times are real ones, which may drift on any machine: only what was disturbed is asked for.
    assert ("foreign_load" in {flag.code for flag in profile.flags}) == disturbed
    kept = profile.details["attempts"]
    assert profile.details["page_faults_per_call"] >= 0
    assert [entry["flags"] for entry in kept] == [["foreign_load"], []][:attempts]
    with np.load(job.path(1).with_suffix(".npz")) as stored:
        assert len(stored.files) == attempts
        assert np.median(stored["durations_s"]) * 1e3 == pytest.approx(kept[-1]["latency_p50_ms"])
        assert profile.metrics["samples"] == len(stored["durations_s"])


def test_slow_times_are_no_ground_for_another_attempt(tmp_path, monkeypatch):
    # Whatever else this machine does just now.
    monkeypatch.setattr(conditions.Conditions, "flags", lambda self: [])

    class GetsSlower(LinearSession):
        calls = 0

        def run(self, placed):
            self.calls += 1
            time.sleep(0.0003 * 1.01**self.calls)
            return super().run(placed)

    measurement = MEASUREMENT | {"repeats": 3, "min_seconds": 0.3, "max_seconds": 0.3}
    (profile,), _ = measure(
        make_job(tmp_path, batch_sizes=[1], measurement=measurement), monkeypatch, GetsSlower
    )
    assert profile.attempts == 1
    assert "drift" in {flag.code for flag in profile.flags}
    assert not profile.valid


@pytest.fixture
def kernel_of(monkeypatch):
    """Makes a kernel whose runs take what is given, the last of it ever after, by a clock that they move."""
    elapsed_s = 0.0
    monkeypatch.setattr(conditions, "time", SimpleNamespace(perf_counter=lambda: elapsed_s))

    def kernel(*milliseconds):
        left = list(milliseconds)

        def run():
            nonlocal elapsed_s
            elapsed_s += (left.pop(0) if len(left) > 1 else left[0]) / 1e3

        return run

    return kernel


def test_the_machine_that_changes_while_it_measures_is_told_by_a_kernel_that_is_not_the_models(kernel_of):
    kernel = kernel_of(*[2] * 10, 5)
    found = conditions.Conditions(lambda: kernel, window_s=0)
    with found:
        pass
    (flag,) = [flag for flag in found.flags() if flag.code == "machine_changed"]
    assert flag.value == pytest.approx(1.5)
    before, after = found.figures()["reference_ms"]
    assert before < after


def test_a_neighbour_that_is_gone_again_is_no_changed_machine(kernel_of):
    """Windows of five runs: one that is slow as a whole, before, and one after."""
    kernel = kernel_of(*[6] * 5, *[2] * 10, *[6] * 5, 2)
    found = conditions.Conditions(lambda: kernel, window_s=0)
    with found:
        pass
    assert "machine_changed" not in {flag.code for flag in found.flags()}


def with_card(job, **changes):
    """The job, with some of its model's card changed."""
    path = job.model_directory / "card.json"
    write_json(path, read_json(path) | changes)
    return job


def test_inputs_that_were_generated_are_flagged_and_the_row_is_valid(tmp_path, monkeypatch):
    for synthetic in (False, True):
        job = with_card(make_job(tmp_path, batch_sizes=[1]), synthetic_inputs=synthetic)
        job.path(1).unlink(missing_ok=True)
        ((row,), _) = measure(job, monkeypatch)
        assert row.status == "ok"
        assert ("synthetic_inputs" in {flag.code for flag in row.flags}) == synthetic
        assert "synthetic_inputs" not in TRUST_BREAKING_FLAGS


def test_another_constant_is_another_subject(tmp_path):
    job = make_job(tmp_path)
    without = job.fingerprints(1)["subject"]
    data = {"name": "x", "dtype": "float32", "shape": [16]}
    assert with_card(job, inputs=[data]).fingerprints(1)["subject"] == without
    rates = [with_card(job, inputs=[data, data | {"value": n}]).fingerprints(1)["subject"] for n in (8, 16)]
    assert len({without, *rates}) == 3


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModuleNotFoundError("No module named 'torchvision'", name="torchvision.ops"), "unavailable"),
        (ModuleNotFoundError("No module named 'hwfit.nothing'", name="hwfit.nothing"), "crashed"),
        (Unavailable("the file is not there"), "unavailable"),
        (ImportError("cannot import name 'x'", name="torchvision"), "crashed"),
    ],
)
def test_a_package_that_a_python_lacks_is_no_crash(error, status):
    found, reason = worker.classify(error)
    assert found == status
    if getattr(error, "name", None) == "torchvision.ops":
        assert "has no module torchvision: install its package" in reason
