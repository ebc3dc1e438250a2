"""The pass `threads`: it goes before a device's threads, and leaves the outputs as they are."""

from pathlib import Path

from hwfit.catalog import PASSES, RUNTIMES
from hwfit.worker.passes.threads import taken_from
from hwfit.worker.runtimes import Request
from jobs import make_job

ONE = {"pass": "threads", "count": 1}
CAST = {"pass": "cast", "dtype": "bfloat16"}


def test_the_pass_is_taken_out_and_its_count_goes_before_what_was_asked_for():
    assert taken_from([ONE, CAST], 4) == ((CAST,), 1)
    assert taken_from([CAST], 4) == ((CAST,), 4)
    assert taken_from([], None) == ((), None)


def test_a_request_opens_with_the_threads_of_the_pass():
    request = Request({}, "features", Path("x"), {}, "cpu", passes=[CAST, ONE], threads=2)
    assert (request.passes, request.threads) == ((CAST,), 1)


def test_a_worker_is_started_with_the_threads_of_the_pass(tmp_path):
    assert make_job(tmp_path, passes=[ONE], threads=2).compute_threads == 1
    assert make_job(tmp_path, threads=2).compute_threads == 2
    assert make_job(tmp_path).compute_threads is None


def test_threads_leave_the_outputs_as_they_are_and_a_cast_does_not(tmp_path):
    assert make_job(tmp_path, passes=[ONE]).keeps_outputs
    assert not make_job(tmp_path, passes=[ONE, CAST]).keeps_outputs


def test_other_threads_are_another_subject(tmp_path):
    one, two = (make_job(tmp_path, passes=[ONE | {"count": n}]).fingerprints(1) for n in (1, 2))
    assert one["subject"] != two["subject"]


def test_every_runtime_takes_the_pass():
    assert PASSES["threads"].runtimes == tuple(RUNTIMES)
