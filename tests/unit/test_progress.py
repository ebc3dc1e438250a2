"""Progress that a person can read: counts, an estimate once something tells of it, and what is not ok."""

from __future__ import annotations

import datetime
import io
import logging
from types import SimpleNamespace

import pytest
import rich.console
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings

import snakemake_logger_plugin_hwfit as plugin
from hwfit.records import write_json
from snakemake_logger_plugin_hwfit.outcome import about, outcomes
from snakemake_logger_plugin_hwfit.tally import Estimate, Job, Tally, in_words, left_in_words

NOON = datetime.datetime(2026, 11, 26, 12, 0)


def tally_of(*durations_s: float, planned: int = 10, rule: str = "profile_cpu_torch", **others: int) -> Tally:
    """A run whose first jobs took so long, one after the other."""
    tally, now_s = Tally(), 0.0
    tally.plan({rule: planned, **others})
    for number, seconds in enumerate(durations_s):
        tally.start(number, Job(rule, f"job {number}", now_s))
        now_s += seconds
        tally.finish(number, now_s)
    return tally


def test_nothing_is_estimated_before_something_like_it_is_done():
    assert tally_of().estimate(0.0) is None
    probed = tally_of(0.5, planned=1, rule="probe_cpu", profile_cpu_torch=20)
    assert probed.estimate(0.5) is None
    assert "about" not in in_words(probed, 0.5, NOON)


def test_an_estimate_is_the_mean_of_what_was_seen_and_its_range_holds_the_scatter():
    steady, scattered = tally_of(10, 10, 10, 10), tally_of(4, 16, 4, 16)
    for tally in (steady, scattered):
        assert tally.estimate(40.0).seconds == pytest.approx(60)
    assert steady.estimate(40.0).low_s == pytest.approx(48), "never looks better known than to a fifth"
    assert scattered.estimate(40.0).high_s > 80 > steady.estimate(40.0).high_s


def test_jobs_that_run_beside_each_other_shorten_the_estimate():
    tally = Tally()
    tally.plan({"profile_cpu_torch": 12})
    for number in range(4):
        tally.start(number, Job("profile_cpu_torch", "", 0.0))
    for number in range(4):
        tally.finish(number, 10.0)
    assert tally.estimate(10.0).seconds == pytest.approx(20), "eight are left, four at a time"


def test_what_a_running_job_has_done_counts():
    tally = tally_of(10, 10, planned=3)
    tally.start(2, Job("profile_cpu_torch", "", 20.0))
    assert tally.estimate(26.0).seconds == pytest.approx(4)
    assert tally.estimate(50.0).seconds == pytest.approx(0), (
        "one that takes longer than others is about to end"
    )


def test_another_target_goes_by_those_that_were_seen_and_what_was_not_is_named():
    tally = tally_of(10, 10, planned=2, profile_gpu0_torch=6, confirm_cpu=1)
    estimate = tally.estimate(20.0)
    assert estimate.seconds == pytest.approx(60)
    assert estimate.without == ("confirm",)
    assert in_words(tally, 20.0, NOON).endswith("until about 12:01, and confirm after that")


def test_jobs_that_a_checkpoint_adds_are_left_and_estimated():
    tally = tally_of(10, 10, planned=2)
    assert tally.left == 0
    tally.set_total(5)
    assert tally.left == 3
    assert tally.estimate(20.0).seconds == pytest.approx(30)


def test_a_job_that_fails_and_begins_again_is_one_job():
    tally = tally_of(planned=1)
    tally.start(7, Job("profile_cpu_torch", "net on cpu", 0.0))
    tally.fail(7)
    assert "jobs that failed: 1" in in_words(tally, 1.0, NOON)
    tally.start(7, Job("profile_cpu_torch", "net on cpu", 1.0))
    tally.finish(7, 3.0)
    assert in_words(tally, 3.0, NOON) == "1 of 1 jobs done, 0 running, 0 left"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (42, "about 42 s left (38 to 46), until about 12:00"),
        (600, "about 10 min left (9 to 11), until about 12:10"),
        (5.5 * 3600, "about 5.5 h left (5.0 to 6.0), until about 17:30"),
        (13 * 3600, "about 13.0 h left (11.8 to 14.2), until about 01:00 on 27 November"),
    ],
)
def test_an_estimate_is_said_in_the_unit_that_fits(seconds, said):
    assert left_in_words(Estimate(seconds, seconds * 0.91, seconds * 1.09), NOON) == said


PROFILES = "results/profiles/cpu/torch/lenet-5/int8/single_stream"


def test_jobs_are_named_by_what_they_are_about():
    assert about("profile_cpu_torch", [f"{PROFILES}/round0/bs1.json"]) == "lenet-5 on cpu with torch, int8"
    again = f"{PROFILES}/round3/bs1.json".replace("single_stream", "server")
    assert about("profile_cpu_torch", [again]) == "lenet-5 on cpu with torch, int8, server, round 3"
    assert about("prepare_model", ["results/models/lenet-5/card.json"]) == "preparing lenet-5"
    assert about("write_plan", ["results/plan.json"]) == "write plan"


@pytest.fixture
def handler(tmp_path, monkeypatch):
    """Makes a handler that writes to a string, and whose run is in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def make(is_terminal: bool = False, **settings):
        told = MockOutputSettings()
        told.__dict__ |= {"printshellcmds": False, "nocolor": True} | settings
        stream = io.StringIO()

        original = rich.console.Console

        def console(**how):
            return original(file=stream, force_terminal=is_terminal, width=160, highlight=False)

        monkeypatch.setattr(rich.console, "Console", console)
        made = plugin.LogHandler(told, None)
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        return made, stream

    return make


def event(kind: LogEvent | None, message: str = "", level: int = logging.INFO, **fields) -> logging.LogRecord:
    record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    record.__dict__ |= ({"event": kind} if kind else {}) | fields
    return record


def one_job(handler, number=1, statuses=(("ok", ""), ("oom", "no memory"))):
    """A cell that is measured, with rows that say so."""
    output = []
    for place, (status, reason) in enumerate(statuses):
        path = f"{PROFILES}/round0/bs{8**place}.json"
        write_json(path, {"status": status, "reason": reason})
        output.append(f"{path} (update)")
    handler.emit(event(LogEvent.RUN_INFO, stats={"profile_cpu_torch": 2, "total": 2}))
    job = {"jobid": number, "rule_name": "profile_cpu_torch", "output": output, "log": []}
    handler.emit(event(LogEvent.JOB_INFO, **job))
    handler.emit(event(LogEvent.JOB_FINISHED, job_id=number))
    handler.emit(event(LogEvent.PROGRESS, done=1, total=2))


def test_batch_sizes_that_ended_alike_are_one_line(handler):
    made, stream = handler()
    why = "int8 meets an operator that torch lacks"
    one_job(made, statuses=(("ok", ""), ("unsupported", why), ("unsupported", why)))
    assert f"lenet-5 on cpu with torch, int8, batch 8, 64: unsupported, {why}\n" in stream.getvalue()


def test_in_a_pipe_what_is_not_ok_is_told_with_its_reason_and_where_the_run_is(handler, tmp_path):
    made, stream = handler()
    one_job(made)
    made.close()
    said = stream.getvalue()
    assert "lenet-5 on cpu with torch, int8, batch 8: oom, no memory\n" in said
    assert "1 of 2 jobs done" in said
    assert "rows not ok so far: 1 oom" in said
    assert "\x1b" not in said
    assert len(said.splitlines()) == 3, said


def test_the_log_has_a_line_for_each_job_and_how_it_ended(handler, tmp_path):
    made, _ = handler(quiet=[SimpleNamespace(name="ALL")])
    one_job(made)
    made.close()
    begins, job, ends = (tmp_path / plugin.LOG).read_text().splitlines()
    assert "a run begins: 2 jobs (2 profile_cpu_torch)" in begins
    assert "lenet-5 on cpu with torch, int8: 1 ok, 1 oom; batch 8: oom, no memory (" in job
    assert "rows: 1 ok, 1 oom" in ends


def test_a_terminal_shows_the_state_and_what_runs(handler):
    made, stream = handler(is_terminal=True)
    one_job(made)
    made.emit(
        event(
            LogEvent.JOB_INFO,
            jobid=2,
            rule_name="confirm_cpu",
            output=["results/confirmations/cpu.json"],
            log=[],
        )
    )
    made.close()
    said = stream.getvalue()
    assert "now: contenders again on cpu" in said
    assert "batch 8: oom, no memory" in said


def test_quiet_is_quiet_but_for_errors(handler):
    made, stream = handler(quiet=[SimpleNamespace(name="ALL")])
    one_job(made)
    made.emit(event(None, "careful", logging.WARNING))
    assert stream.getvalue() == ""
    made.emit(event(None, "At least one job failed", logging.ERROR))
    made.close()
    assert stream.getvalue() == "At least one job failed\n"


def test_a_job_that_fails_is_told_with_the_end_of_its_log(handler, tmp_path):
    made, stream = handler()
    (tmp_path / "a.log").write_text("\n".join(f"line {number}" for number in range(20)))
    made.emit(event(LogEvent.JOB_INFO, jobid=1, rule_name="decide", output=["reports/x.csv"], log=["a.log"]))
    made.emit(event(LogEvent.JOB_ERROR, level=logging.ERROR, jobid=1))
    made.emit(event(None, "Trying to restart job 1."))
    said = stream.getvalue()
    assert "failed: decide (log: a.log)" in said
    assert "line 19" in said
    assert "line 1\n" not in said
    assert "again: decide" in said


def test_a_group_that_fails_is_told_with_the_scheduler_s_log(handler, tmp_path):
    made, stream = handler()
    (tmp_path / "slurm.log").write_text("DUE TO TIME LIMIT\n")
    made.emit(event(LogEvent.JOB_INFO, jobid=1, rule_name="decide", output=["reports/x.csv"], log=[]))
    failed = [{"jobid": 1, "rule_name": "decide", "output": [], "log": []}]
    made.emit(event(LogEvent.GROUP_ERROR, job_error_info=failed, aux_logs=["slurm.log"]))
    assert "failed: decide (log: slurm.log)\n    DUE TO TIME LIMIT" in stream.getvalue()


def test_a_dry_run_looks_as_without_the_plugin_and_writes_nothing(handler, tmp_path, capsys):
    made, stream = handler(dryrun=True)
    made.emit(event(None, "This was a dry-run (flag -n)."))
    made.close()
    assert stream.getvalue() == ""
    assert not (tmp_path / "logs").exists()
    assert "This was a dry-run" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_ends_nothing(handler, tmp_path):
    (tmp_path / "logs").write_text("in the way")
    made, stream = handler()
    one_job(made)
    made.close()
    assert "logs/progress.log cannot be written" in stream.getvalue()
    assert "1 of 2 jobs done" in stream.getvalue()


def test_a_record_that_cannot_be_read_is_told_and_a_place_that_is_no_row_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json("bs1.json", {"status": "skipped", "reason": "not in the matrix"})
    (tmp_path / "bs8.json").write_text("{")
    found = list(outcomes(["bs1.json", "bs8.json", "table.csv"]))
    assert [(outcome.status, outcome.batch_size) for outcome in found] == [("unreadable", "8")]
