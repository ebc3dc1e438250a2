"""A composite device: shares that follow speed, outputs in their order, and members that fail."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cluster import wait_until
from composites import make_composite
from hwfit.records import read_json, read_profile, write_json
from hwfit.worker import composite, shares
from hwfit.worker.attempts import Attempts
from hwfit.worker.errors import Incorrect, Unsupported
from hwfit.worker.evaluation_set import EvaluationSet
from hwfit.worker.load_monitor import LoadMonitor, process_cpu_seconds
from hwfit.worker.lock import device_lock
from hwfit.worker.member_process import MemberLost
from hwfit.worker.runtimes import Request, split
from hwfit.worker.supervisor import supervise
from jobs import MEASUREMENT

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "workflow")}
SLEEP = "time.sleep({} * size)"


@pytest.fixture
def open_split(tmp_path):
    """Opens a composite of members with these bodies; its members' processes are gone afterwards."""
    sessions = []

    def open_session(*bodies):
        job = make_composite(tmp_path, *bodies)
        request = Request({}, job.task, Path(), {"inputs": []}, "composite", members=job.members)
        sessions.append(split.open_session(request))
        return sessions[-1], EvaluationSet(job.model_directory / "evaluation.npz")

    yield open_session
    for session in sessions:
        for member in session.members:
            member.process.kill()
            member.process.wait()


@pytest.mark.parametrize(
    ("samples", "speeds", "expected"),
    [
        (8, [3, 1], [6, 2]),
        (7, [3, 1], [5, 2]),
        (1, [3, 1], [1, 0]),
        (2, [1, 1], [1, 1]),
        (3, [1, 1], [2, 1]),
        (10, [1e9, 1e-9], [10, 0]),
        (5, [1, 2, 2], [1, 2, 2]),
    ],
)
def test_shares_are_whole_and_in_proportion(samples, speeds, expected):
    assert shares.in_proportion(samples, speeds) == expected


def test_shares_are_less_than_a_sample_away_from_their_exact_part():
    random = np.random.default_rng(0)
    for _ in range(200):
        speeds = random.uniform(0.01, 10, random.integers(2, 6))
        samples = int(random.integers(1, 300))
        parts = shares.in_proportion(samples, speeds)
        assert sum(parts) == samples
        assert (np.abs(parts - samples * speeds / speeds.sum()) < 1).all()


def test_shares_follow_the_measured_speed(open_split):
    session, data = open_split(SLEEP.format(0.002), SLEEP.format(0.006))
    for size in (1, 7, 8, 40):
        session.place(data.rows(np.arange(size)))
        left, right = session.trials[size].shares
        assert left + right == size
        # A sleep takes a little longer than it was asked for, which weighs more on the short one.
        assert left == pytest.approx(0.75 * size, abs=max(1, 0.05 * size))


def test_outputs_are_in_the_order_of_the_samples_at_every_batch_size(open_split):
    session, data = open_split(SLEEP.format(0.0005), SLEEP.format(0.001), SLEEP.format(0.0007))
    for size in (1, 2, 3, 7, 64):
        for shift in (0, 5):
            rows = (np.arange(size) + shift) % data.samples
            output = session.fetch(session.run(session.place(data.rows(rows))))
            np.testing.assert_allclose(output, data.reference[rows], rtol=1e-4, atol=1e-4)


def test_an_output_stays_that_of_its_own_inputs(open_split):
    session, data = open_split("pass", "pass")
    first, second = (session.place(data.rows(np.arange(8) + shift)) for shift in (0, 8))
    one, two = session.run(first), session.run(second)
    np.testing.assert_allclose(session.fetch(one), data.reference[:8], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(session.fetch(two), data.reference[8:16], rtol=1e-4, atol=1e-4)


def test_members_work_at_the_same_time(open_split):
    session, data = open_split("time.sleep(0.1)", "time.sleep(0.1)")
    placed = session.place(data.rows(np.arange(8)))
    start = time.perf_counter()
    session.run(placed)
    assert 0.1 <= time.perf_counter() - start < 0.19
    (told,) = session.details()["split"]["batch_sizes"].values()
    assert told["hand_over_us"] < 90_000
    assert set(told["together_ms"]) == {"left", "right"}


def test_members_forget_batches_that_nobody_holds(open_split):
    session, data = open_split("pass", "pass")
    for _ in range(20):
        placed = session.place(data.rows(np.arange(8)))
    del placed
    assert all(len(member.released) <= 2 for member in session.members)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ValueError('no')", ValueError),
        ("raise MemoryError", MemoryError),
        ("raise KeyError('x')", RuntimeError),
        ("from hwfit.worker.errors import Unsupported; raise Unsupported('no')", Unsupported),
        ("from hwfit.worker.errors import Incorrect; raise Incorrect('no')", Incorrect),
    ],
)
def test_what_a_member_raises_is_raised_with_its_name(open_split, body, error):
    session, data = open_split("pass", body)
    with pytest.raises(error, match=r"member right \(tensorflow\)"):
        session.run(session.place(data.rows(np.arange(8))))


# --- Under a supervisor ---------------------------------------------------------------------------------


def run(job, directory):
    supervise(job, Attempts(directory / "attempts.jsonl"))
    return {size: read_profile(job.path(size)) for size in job.batch_sizes}


def living(directory):
    """The processes that were started from a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(directory).encode() in path.read_bytes() and int(path.parts[2]) != os.getpid():
                found.append(path.parts[2])
        except OSError:
            continue
    return found


def test_a_composite_gives_rows_like_any_other(tmp_path):
    job = make_composite(tmp_path, SLEEP.format(0.0002), SLEEP.format(0.0004), batch_sizes=[1, 7, 64])
    for size, profile in run(job, tmp_path).items():
        assert profile.status == "ok", profile.reason
        assert profile.metrics["accuracy"] == profile.metrics["fidelity"] == 1.0
        told = profile.details["split"]["batch_sizes"][str(size)]
        assert sum(told["shares"].values()) == size
        slowest = max(told["together_ms"].values())
        assert told["call_ms"] >= slowest
        assert told["call_ms"] - slowest == pytest.approx(told["hand_over_us"] / 1e3, abs=0.5)
        assert profile.metrics["peak_memory_mb"] > 30
    assert told["pays"]
    # What was killed with its worker dies a moment after it.
    wait_until(lambda: not living(tmp_path), 10, lambda: str(living(tmp_path)))


def test_a_single_sample_goes_to_the_faster_member_and_is_no_gain(open_split):
    session, data = open_split("time.sleep(0.02)", "time.sleep(0.002)")
    session.run(session.place(data.rows(np.arange(1))))
    told = session.details()["split"]["batch_sizes"]["1"]
    assert told["shares"] == {"left": 0, "right": 1}
    assert set(told["together_ms"]) == {"right"}
    assert told["pays"] is False


def test_offline_the_way_there_and_back_is_timed_too(tmp_path):
    figures = {}
    for scenario in ("single_stream", "offline"):
        job = make_composite(tmp_path / scenario, "pass", "pass", scenario=scenario, batch_sizes=[64])
        (profile,) = run(job, tmp_path / scenario).values()
        assert profile.status == "ok", profile.reason
        figures[scenario] = profile.metrics["latency_p50_ms"]
    # Three exchanges with the members in place of one.
    assert figures["offline"] > 1.5 * figures["single_stream"]


def test_splitting_that_does_not_pay_is_recorded(tmp_path):
    job = make_composite(tmp_path, "time.sleep(0.002)", "time.sleep(0.03)", batch_sizes=[64])
    (profile,) = run(job, tmp_path).values()
    told = profile.details["split"]["batch_sizes"]["64"]
    assert told["best"] == "left"
    assert told["pays"] is False
    # All but a little goes to the quicker one, whose times differ by chance alone.
    assert told["call_ms"] > 0.8 * told["whole_on_best_ms"]


def test_a_member_that_remembers_outputs_is_found_out(tmp_path):
    remember = "self.known = getattr(self, 'known', {}); key = placed.tobytes(); new = key not in self.known;"
    body = f"{remember} self.known[key] = 1; time.sleep(0.05 if new else 0.001)"
    job = make_composite(tmp_path, body, body, batch_sizes=[8])
    (profile,) = run(job, tmp_path).values()
    assert profile.status == "incorrect"
    assert "outputs are remembered" in profile.reason


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("if size == 4: os.kill(os.getpid(), 9)", "crashed", "member right (tensorflow) died of SIGKILL"),
        ("if size == 4: ctypes.string_at(0)", "crashed", "member right (tensorflow) died of SIGSEGV"),
        ("if size == 4: os._exit(3)", "crashed", "member right (tensorflow) ended with exit status 3"),
        ("if size == 4: time.sleep(600)", "timeout", "; waiting for member right (tensorflow)"),
        ("if size == 4: raise MemoryError", "oom", "member right (tensorflow): MemoryError"),
    ],
)
def test_a_member_that_ends_or_hangs_is_a_row_with_its_name_and_the_others_go_on(
    tmp_path, body, status, reason
):
    measurement = MEASUREMENT | {"timeout_seconds": 5}
    job = make_composite(tmp_path, "pass", body, batch_sizes=[1, 8, 32], measurement=measurement)
    profiles = run(job, tmp_path)
    assert profiles[8].status == status
    assert reason in profiles[8].reason
    assert profiles[1].status == "ok"
    assert profiles[32].status == ("skipped" if status == "oom" else "ok")
    # What was killed with its worker dies a moment after it.
    wait_until(lambda: not living(tmp_path), 10, lambda: str(living(tmp_path)))


def test_a_member_that_was_killed_takes_the_worker_along(open_split):
    session, data = open_split("pass", "pass")
    placed = session.place(data.rows(np.arange(8)))
    session.members[1].process.send_signal(signal.SIGKILL)
    with pytest.raises(MemberLost, match=r"right \(tensorflow\) died of SIGKILL"):
        session.run(placed)


# --- What is known of it before -------------------------------------------------------------------------


def probe_file(directory, name, **changes):
    found = {"status": "ok", "reason": "", "name": name, "identity": f"cpu:{name}", "driver": "6"}
    write_json(directory / f"{name}.json", found | changes)
    return directory / f"{name}.json"


def test_a_composite_is_there_when_all_its_members_are(tmp_path):
    members = [("left", "torch"), ("right", "openvino")]
    there = [probe_file(tmp_path, "left", locks=["cpu:whole"]), probe_file(tmp_path, "right")]
    united = composite.unite_probes(members, there)
    assert (united["status"], united["identity"]) == ("ok", "cpu:left + cpu:right")
    assert united["locks"] == ["cpu:right", "cpu:whole"]
    absent = probe_file(tmp_path, "right", status="unavailable", reason="no such core")
    united = composite.unite_probes(members, [there[0], absent])
    assert (united["status"], united["reason"]) == ("unavailable", "member right: no such core")


def test_an_absent_member_makes_rows_unavailable(tmp_path):
    job = make_composite(tmp_path, "pass", "pass")
    reason = "member right: no such core"
    write_json(job.probe_file, read_json(job.probe_file) | {"status": "unavailable", "reason": reason})
    assert {(p.status, p.reason) for p in run(job, tmp_path).values()} == {("unavailable", reason)}


def test_an_inventory_adds_the_peaks_up_and_names_the_runtimes(tmp_path):
    members = [("left", "torch"), ("right", "openvino")]
    files = [probe_file(tmp_path, "pair")]
    for name, runtime in members:
        runtimes = {runtime: {"status": "ok", "runtime_version": "2.0"}}
        peaks = {"matmul_float32_gflops": 50.0, "memory_copy_gb_s": 9.0}
        peaks |= {"matmul_int8_gflops": 90.0} if name == "left" else {}
        more = {"runtimes": runtimes, "peaks": peaks, "sensors": []}
        files.append(probe_file(tmp_path, name, **more))
    united = composite.unite_inventories("pair", members, files)
    assert united["runtimes"]["split"]["runtime_version"] == "torch 2.0 + openvino 2.0"
    assert united["peaks"] == {"matmul_float32_gflops": 100.0}


# --- Around it ------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_what_members_compute_is_no_foreign_load():
    burn = "import time; end = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
    process = subprocess.Popen([sys.executable, "-c", burn])
    try:
        with LoadMonitor([process.pid]) as own, LoadMonitor() as foreign:
            time.sleep(1)
    finally:
        process.kill()
        process.wait()
    assert foreign.foreign > own.foreign + 0.3 / len(os.sched_getaffinity(0))


def test_a_process_that_is_gone_took_no_time():
    assert process_cpu_seconds(2**22 + 1) == 0


def test_a_composite_holds_the_locks_of_all_its_members(tmp_path):
    names = [f"{tmp_path}/{letter}" for letter in "ab"]
    code = "import sys; from hwfit.worker.lock import device_lock\n"
    code += "with device_lock(sys.argv[1]): print('held', flush=True)"
    with device_lock(*reversed(names), names[0]):
        waiting = [
            subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE, env=ENVIRONMENT)
            for name in names
        ]
        time.sleep(1)
        assert [process.poll() for process in waiting] == [None, None]
    assert [process.communicate(timeout=20)[0] for process in waiting] == [b"held\n", b"held\n"]
