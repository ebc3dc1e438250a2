"""What a training run is called, and what its record and its log hold."""

import pytest

from hwfit.records import Flag, RecordError, write_json
from hwfit.training.records import (
    TrainingRecord,
    TrainingRun,
    read_log,
    read_training_record,
    record_path,
    what_is_unsupported,
)

RUN = TrainingRun("lenet-5", "cpu", "torch", "adam", 0.001, 64, seed=3)


def make_record(**changes) -> TrainingRecord:
    values = {"run": RUN.to_dict(), "rung": 0, "epochs": 2, "max_epochs": 8, "status": "ok"}
    return TrainingRecord(**values | {"metrics": {"steps": 20, "epochs_to_target": None}} | changes)


def test_a_runs_path_says_what_is_not_the_default():
    assert RUN.path == "cpu/torch/lenet-5/adam/lr0.001-bs64-constant-fp32/seed3"
    small = TrainingRun("lenet-5", "cpu", "torch", "sgd", 1e-5, 64, "cosine", "bf16", 0, 4, True)
    assert small.path == "cpu/torch/lenet-5/sgd/lr1e-05-bs64-cosine-bf16-acc4-ckpt/seed0"


def test_runs_whose_rates_differ_in_the_seventh_digit_do_not_share_a_path():
    runs = {TrainingRun("net", "cpu", "torch", "sgd", rate, 8).path for rate in (0.123456, 0.1234561)}
    assert len(runs) == 2


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = make_record(flags=[Flag("foreign_load", "busy", 0.3)])
    write_json(record_path(tmp_path, 0), record.to_dict())
    assert read_training_record(record_path(tmp_path, 0)) == record
    assert not record.valid


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "fine"}, "status is 'fine'"),
        ({"metrics": {"steps": 0}}, "metrics.steps"),
        ({"metrics": {"steps": 2, "train_s": -1.0}}, "train_s is -1.0"),
        ({"run": {"model": "lenet-5"}}, "missing"),
        ({"schema_version": 0}, "schema_version is 0"),
        ({"metrics": [1]}, r"metrics is \[1\], not a mapping"),
        ({"run": ["lenet-5"]}, "run is"),
        ({"flags": [Flag(7, "busy")]}, "not a flag"),
    ],
)
def test_a_record_that_does_not_hold_together_is_refused(changes, says):
    with pytest.raises(RecordError, match=says):
        TrainingRecord.from_dict(make_record(**changes).to_dict())


def test_a_line_of_the_log_that_was_cut_short_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_log(tmp_path) == [{"step": 1}]
    assert read_log(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"optimizer": "lion", "runtime": "tensorflow"}, "lion is in torch"),
        ({"optimizer": "adma"}, "there is no optimizer adma"),
        ({"accumulation": 3}, "a batch of 64 cannot be made of 3"),
    ],
)
def test_what_cannot_run_is_known_without_a_framework(changes, says):
    assert says in what_is_unsupported(TrainingRun(**RUN.to_dict() | changes))
    assert what_is_unsupported(RUN) is None
