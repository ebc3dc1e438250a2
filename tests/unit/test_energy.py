"""The energy pass: what it adds to a row, and that nothing of it touches the latency."""

import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_profile import measure

from hwfit.records import TRUST_BREAKING_FLAGS, Flag, write_json
from hwfit.report.language import LANGUAGES, Language
from hwfit.worker import energy, meters
from hwfit.worker.energy import EnergyPass, energy_figures
from hwfit.worker.meters import Reading
from jobs import LinearSession, make_job
from powercap import Package

CPU = {"identity": "cpu:host:A processor:2"}
FIGURES = {"power_w", "idle_power_w", "energy_j_per_sample", "energy_net_j_per_sample"}


@pytest.fixture(autouse=True)
def soon(monkeypatch, tmp_path):
    """No sensor but a test's own, and no long waits before the meter looks."""
    monkeypatch.setattr(energy, "LEAD_SECONDS", 0.05)
    monkeypatch.setenv("HWFIT_POWERCAP", str(tmp_path / "powercap"))


@pytest.fixture
def package(tmp_path):
    with Package(tmp_path / "powercap", idle_w=20.0) as found:
        yield found


def costing(package, joules):
    """A session each call of which costs so much."""

    class Costs(LinearSession):
        def run(self, placed):
            package.spend(joules)
            time.sleep(0.001)
            return super().run(placed)

    return Costs


def external(command, seconds=0.6, **more):
    """How a job says that a command prints watts."""
    return {"seconds": seconds, "command": command, "scope": "node", "interval_s": 0.05} | more


def codes_of(profile):
    return {flag.code for flag in profile.flags}


def test_the_energy_of_a_call_is_recovered_and_its_net_is_above_idle(tmp_path, monkeypatch, package):
    job = make_job(tmp_path, probe=CPU, batch_sizes=[1, 8], energy={"seconds": 1.0})
    profiles, _ = measure(job, monkeypatch, costing(package, joules=0.05))
    for profile in profiles:
        assert profile.status == "ok", profile.reason
        metrics, told = profile.metrics, profile.details["energy"]
        # What the counter may be late by, on a machine with much else to do.
        assert metrics["idle_power_w"] == pytest.approx(20, rel=0.1)
        calls, seconds = told["samples"] / profile.batch_size, told["seconds"]
        assert told["gross_j"] == pytest.approx(0.05 * calls + 20 * seconds, rel=0.05)
        assert metrics["energy_j_per_sample"] == pytest.approx(told["gross_j"] / told["samples"])
        net = (told["gross_j"] - told["idle_w"] * seconds) / told["samples"]
        assert metrics["energy_net_j_per_sample"] == pytest.approx(net)
        assert metrics["power_w"] == pytest.approx(told["gross_j"] / told["seconds"])
        assert (told["source"], told["scope"]) == ("counter:rapl", "package")
        assert told["seconds"] >= 1
        # How busy the machine is that the test runs on is its own affair.
        doubts = {code for code in codes_of(profile) if code.startswith("energy_")}
        assert doubts <= {"energy_foreign_load"}


def test_the_pass_is_as_long_as_the_sensor_needs(tmp_path, monkeypatch, package):
    """RAPL needs a second; a tenth was asked for."""
    job = make_job(tmp_path, probe=CPU, batch_sizes=[1], energy={"seconds": 0.1})
    (profile,), _ = measure(job, monkeypatch, costing(package, joules=0.01))
    assert profile.details["energy"]["seconds"] >= 1
    assert profile.metrics["energy_j_per_sample"] > 0


def test_a_command_that_prints_watts_is_the_meter(tmp_path, monkeypatch, package):
    job = make_job(
        tmp_path, probe=CPU, batch_sizes=[1], energy=external("while :; do echo 50; sleep 0.02; done")
    )
    (profile,), _ = measure(job, monkeypatch)
    told = profile.details["energy"]
    assert (told["source"], told["scope"]) == ("sampled:command", "node")
    assert profile.metrics["power_w"] == pytest.approx(50, rel=0.01)
    assert profile.metrics["energy_j_per_sample"] == pytest.approx(
        50 * told["seconds"] / told["samples"], rel=0.01
    )


@pytest.mark.parametrize(
    "command",
    ["echo 50 watts", "exit 3", "for i in 1 2 3; do echo 50; done; exit 1", "no-such-meter"],
    ids=["text", "fails", "dies", "absent"],
)
def test_a_command_that_is_no_meter_leaves_energy_empty_and_the_latency_as_it_is(
    tmp_path, monkeypatch, command
):
    job = make_job(tmp_path, batch_sizes=[1], energy=external(command))
    (profile,), _ = measure(job, monkeypatch)
    assert profile.status == "ok"
    assert profile.metrics["latency_p50_ms"] > 0
    assert {profile.metrics[name] for name in FIGURES} == {None}
    flagged = [flag for flag in profile.flags if flag.code == "energy_command_failed"]
    assert flagged
    assert not {flag.code for flag in flagged} & set(TRUST_BREAKING_FLAGS)


@pytest.mark.parametrize("asked", [{}, {"seconds": 0}, {"seconds": 1000.0}])
def test_without_a_meter_or_a_wish_nothing_is_run_and_no_time_is_spent(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(energy, "LEAD_SECONDS", 1000.0)
    job = make_job(tmp_path, probe=CPU, batch_sizes=[1], energy=asked)
    (profile,), _ = measure(job, monkeypatch)
    assert profile.status == "ok"
    assert not FIGURES & set(profile.metrics)
    assert ("absences" in profile.details["energy"]) == bool(asked.get("seconds"))


def test_without_a_sensor_the_record_says_how_to_have_one(tmp_path, monkeypatch):
    job = make_job(tmp_path, probe=CPU, batch_sizes=[1], energy={"seconds": 1.0})
    (profile,), _ = measure(job, monkeypatch)
    (absence,) = profile.details["energy"]["absences"]
    assert absence["source"] == "rapl"
    assert "power_command" in absence["reason"]


def test_a_sensor_that_may_not_be_read_is_flagged(tmp_path, monkeypatch, package):
    def read_text(path, *arguments, **named):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return as_it_is(path, *arguments, **named)

    # Not by its mode: the superuser may read all.
    as_it_is = Path.read_text
    monkeypatch.setattr(Path, "read_text", read_text)
    job = make_job(tmp_path, probe=CPU, batch_sizes=[1], energy={"seconds": 1.0})
    (profile,), _ = measure(job, monkeypatch)
    assert profile.status == "ok"
    assert not FIGURES & set(profile.metrics)
    (flag,) = [flag for flag in profile.flags if flag.code == "energy_permission"]
    assert "chmod a+r" in flag.message


def test_calls_that_fail_under_the_meter_leave_the_latency_as_it_is(tmp_path, monkeypatch, package):
    class FailsInTheEnd(LinearSession):
        def run(self, placed):
            if reads:
                raise RuntimeError("the device is gone\nand more")
            return super().run(placed)

    reads = []

    def metered(self, *arguments):
        reads.append(1)
        return as_it_is(self, *arguments)

    as_it_is = EnergyPass.metered
    monkeypatch.setattr(EnergyPass, "metered", metered)
    job = make_job(tmp_path, probe=CPU, batch_sizes=[1], energy={"seconds": 0.1})
    (profile,), _ = measure(job, monkeypatch, FailsInTheEnd)
    assert profile.status == "ok"
    assert profile.metrics["latency_p50_ms"] > 0
    assert not FIGURES & set(profile.metrics)
    (flag,) = [flag for flag in profile.flags if flag.code == "energy_failed"]
    assert flag.message == "RuntimeError: the device is gone"


def test_where_no_rate_holds_there_is_none_to_meter(tmp_path, package):
    job = make_job(tmp_path, energy={"seconds": 0.1})
    found = EnergyPass(job, CPU["identity"], (), lambda: None).measure(
        SimpleNamespace(), SimpleNamespace(throughput=None)
    )
    assert [flag.code for flag in found.flags] == ["energy_no_rate"]
    assert found.figures == {}


def test_work_goes_on_as_far_as_the_supervisor_can_tell(tmp_path, package):
    """A pass that is longer than the patience of the supervisor."""
    job = make_job(tmp_path, energy={"seconds": 1.0})
    job.measurement["timeout_seconds"] = 0.4
    said = []
    metered = EnergyPass(job, CPU["identity"], (), lambda: said.append(time.perf_counter()))
    metered.measure(SimpleNamespace(repeat=lambda _, s: time.sleep(s) or 1), SimpleNamespace(throughput=1.0))
    assert np.diff(said).max() < 0.4


def test_requests_that_come_early_do_not_end_the_pass(tmp_path, package):
    """Of random arrivals as many as are due in a second may have come in half of one."""
    job = make_job(tmp_path, energy={"seconds": 1.0})
    early = SimpleNamespace(repeat=lambda _, s: time.sleep(s / 2 + 0.01) or 10)
    found = EnergyPass(job, CPU["identity"], (), lambda: None).measure(early, SimpleNamespace(throughput=1.0))
    assert found.details["seconds"] >= 1
    assert found.details["samples"] > 20


def reading(energy_j=100.0, seconds=10.0, flags=()):
    return Reading("counter:nvml", "board", energy_j, seconds, tuple(flags))


def test_net_energy_is_what_lies_above_idle():
    figures, flags = energy_figures(reading(100.0), reading(20.0, 5.0), samples=10)
    assert figures == {
        "power_w": 10.0,
        "idle_power_w": 4.0,
        "energy_j_per_sample": 10.0,
        "energy_net_j_per_sample": 6.0,
        "energy_j_per_token": None,
    }
    assert not flags


def test_a_load_below_idle_has_no_net_energy():
    figures, flags = energy_figures(reading(100.0), reading(60.0, 5.0), samples=10)
    assert figures["energy_j_per_sample"] == 10.0
    assert figures["energy_net_j_per_sample"] is None
    assert [(flag.code, flag.value) for flag in flags] == [("energy_below_idle", -2.0)]


def test_a_constant_power_is_all_idle():
    figures, flags = energy_figures(reading(50.0 * 3.3, 3.3), reading(50.0 * 0.7, 0.7), samples=7)
    assert figures["energy_net_j_per_sample"] == pytest.approx(0, abs=1e-9)
    assert not flags


def test_without_a_baseline_the_gross_energy_stands_and_the_net_is_empty():
    gap = Flag("energy_gap", "2 s without a sample")
    figures, flags = energy_figures(reading(), reading(None, 5.0, [gap]), samples=10)
    assert figures["energy_j_per_sample"] == 10.0
    assert figures["idle_power_w"] is figures["energy_net_j_per_sample"] is None
    (flag,) = flags
    assert flag.code == "energy_no_idle"
    assert "2 s without a sample" in flag.message


def test_what_the_meter_doubts_is_flagged_and_empty():
    frozen = Flag("energy_frozen", "stood still")
    figures, flags = energy_figures(reading(None, 10.0, [frozen]), reading(20.0, 5.0), samples=10)
    assert [flag.code for flag in flags] == ["energy_frozen"]
    assert [name for name, value in figures.items() if value is not None] == ["idle_power_w"]


def test_a_language_models_energy_is_told_for_each_token_it_writes():
    figures, _ = energy_figures(reading(100.0), reading(20.0, 5.0), samples=5, lengths=(128, 32))
    assert figures["energy_j_per_token"] == pytest.approx(20 / 32)


class TestWhatStaysTrue:
    """A profile on disk, beside a job that asks for other energy."""

    OWN, NONE = {"seconds": 10.0}, {"seconds": 0}
    WALL = external("wall-meter")

    @pytest.mark.parametrize(
        ("made", "asked", "is_true"),
        [
            (OWN, OWN, True),
            (OWN, {"seconds": 30.0}, True),
            (OWN, NONE, True),
            (WALL, NONE, True),
            (NONE, NONE, True),
            (WALL, WALL | {"seconds": 5.0}, True),
            (NONE, OWN, False),
            (OWN, WALL, False),
            (WALL, OWN, False),
            (WALL, WALL | {"scope": "board"}, False),
        ],
    )
    def test_another_meter_is_another_measurement_and_no_meter_takes_any(
        self, tmp_path, made, asked, is_true
    ):
        job = make_job(tmp_path, energy=made)
        profile = job.profile(1, "ok", metrics={"latency_p50_ms": 1.0})
        write_json(job.path(1), profile.to_dict())
        assert (make_job(tmp_path, energy=asked).still_true(1) is not None) == is_true

    def test_how_energy_is_metered_is_no_part_of_how_latency_is_measured(self, tmp_path):
        protocols = {
            make_job(tmp_path, energy=asked).fingerprints(1)["protocol"]
            for asked in (self.OWN, self.NONE, self.WALL)
        }
        assert len(protocols) == 1


def test_every_reason_is_explained_in_the_docs_and_in_each_language_of_the_report():
    """Codes of the pass itself; `tests/unit/test_meters.py` looks after those of the meters in the docs."""
    root = Path(__file__).parents[2]
    sources = [Path(energy.__file__), *Path(meters.__file__).parent.glob("*.py")]
    code = "".join(path.read_text() for path in sources)
    told = set(re.findall(r'(?:Flag|Fault)\(\s*"(energy_[a-z_]+)"', code))
    assert {"energy_failed", "energy_frozen", "energy_no_idle", "energy_permission"} <= told
    page = (root / "docs" / "energy.md").read_text()
    assert [name for name in sorted(told) if f"`{name}`" not in page] == []
    for language in LANGUAGES:
        flags = Language(language).section("flags")
        assert [name for name in sorted(told) if name not in flags] == []
