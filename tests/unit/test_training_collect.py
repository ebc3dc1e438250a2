"""Records of training become rows: each run of the plan has one, and what was not reached is empty."""

from __future__ import annotations

import pandas as pd

from hwfit.cost_sections import Cost
from hwfit.costs import Tariff
from hwfit.records import Flag, read_json, write_json
from hwfit.training.collect import forget_training, judge_rung, read_training
from hwfit.training.plan import TRAINING, TrainingPlan, verdict_file
from hwfit.training.records import record_path
from hwfit.training.table import (
    CONFIGURATION_COLUMNS,
    RUN_COLUMNS,
    make_configuration_table,
    make_configurations,
    make_run_table,
    read_run_table,
)
from trainings import make_configuration, make_training, record, train, write_rung


def collected(directory, plan, **per_hour):
    tariffs = {device: Tariff({device: price}) for device, price in per_hour.items()}
    return make_run_table(read_training(plan, directory), plan, {}, tariffs, Cost(currency="EUR"))


def test_every_run_has_a_row_with_the_published_columns(tmp_path):
    plan = train(tmp_path, make_training(optimizers=["sgd", "lion"], runtimes=None))
    table = collected(tmp_path, plan)
    assert list(table.columns) == list(RUN_COLUMNS)
    assert len(table) == len(plan["training"])
    assert (table.loc[table["runtime"] == "tensorflow", "optimizer"] == "lion").any()


def test_not_reached_is_a_result_and_no_time(tmp_path):
    plan = train(tmp_path, make_training(target_accuracy=0.999, optimizers=["adam"], learning_rates=[0.01]))
    table = collected(tmp_path, plan)
    assert (table["status"] == "ok").all()
    assert not table["reached"].any()
    assert table["seconds_to_target"].isna().all() and table["epochs_to_target"].isna().all()
    assert table["best_validation_accuracy"].notna().all()


def test_divergence_is_a_status_of_its_own_with_its_reason(tmp_path):
    plan = train(tmp_path, make_training(optimizers=["adam"], learning_rates=[1.0], batch_sizes=[16]))
    (line,) = collected(tmp_path, plan).to_dict("records")
    assert line["status"] == "diverged"
    assert "no number" in line["reason"]
    assert pd.isna(line["reached"])


def test_a_run_that_the_search_stopped_says_where_and_at_what_rank(tmp_path):
    plan = train(tmp_path, make_training(search="halving"))
    table = collected(tmp_path, plan)
    stopped = table[table["stopped"] != ""]
    assert set(stopped["epochs"]) <= {1, 3}
    assert stopped["stopped"].str.match(r"rung [01], (ranked \d of \d|trained )").all()
    assert not stopped["reached"].any()
    assert table.loc[(table["stopped"] == "") & (table["status"] == "ok"), "reached"].any()


def test_a_record_that_is_not_there_or_cut_short_is_a_row_that_crashed(tmp_path):
    plan = make_training(learning_rates=[0.1], optimizers=["sgd"])
    told = train(tmp_path, plan)
    first, second = (planned.run for planned in plan.training)
    record_path(tmp_path / TRAINING / first.path, 0).unlink()
    record_path(tmp_path / TRAINING / second.path, 0).write_text('{"run": ')
    assert [(row.status, "no record" in row.reason) for row in read_training(told, tmp_path)] == [
        ("crashed", True),
        ("crashed", True),
    ]


def test_a_record_of_another_run_is_not_believed(tmp_path):
    plan = make_training(learning_rates=[0.1], optimizers=["sgd"])
    told = train(tmp_path, plan)
    first, second = (planned.run for planned in plan.training)
    content = read_json(record_path(tmp_path / TRAINING / first.path, 0))
    write_json(record_path(tmp_path / TRAINING / second.path, 0), content)
    assert "speaks of net" in read_training(told, tmp_path)[1].reason


def test_without_a_verdict_a_run_that_did_not_come_to_the_end_is_not_passed_off_as_whole(tmp_path, capsys):
    plan = make_training(search="halving", learning_rates=[0.1, 0.001], optimizers=["sgd"], batch_sizes=[16])
    told = train(tmp_path, plan)
    (tmp_path / verdict_file(("cpu", "torch", "net"), 0)).unlink()
    assert {row.status for row in read_training(told, tmp_path)} == {"crashed"}
    assert "does not say which runs ended" in capsys.readouterr().err


def test_the_price_of_a_run_is_its_time_at_the_devices_price(tmp_path):
    plan = train(tmp_path, make_training(learning_rates=[0.1], optimizers=["sgd"]))
    table = collected(tmp_path, plan, cpu=7200.0)
    reached = table[table["reached"] == True]  # noqa: E712
    assert len(reached)
    assert (reached["cost_to_target"] == 2 * reached["seconds_to_target"]).all()
    assert set(reached["currency"]) == {"EUR"}
    assert collected(tmp_path, plan)["cost_to_target"].isna().all()


def test_a_configuration_is_the_median_of_its_seeds_with_its_spread():
    line = make_configuration(3.0, 1.0, 2.0).to_line()
    assert list(line) == list(CONFIGURATION_COLUMNS) or set(line) == set(CONFIGURATION_COLUMNS)
    assert (line["seconds_to_target_low"], line["seconds_to_target"], line["seconds_to_target_high"]) == (
        1,
        2,
        3,
    )
    assert (line["seeds"], line["seeds_reached"]) == (3, 3)


def test_a_seed_that_never_reached_the_target_counts_as_never_in_the_median():
    assert make_configuration(1.0, 3.0, None).to_line()["seconds_to_target"] == 3.0
    assert make_configuration(1.0, None, None).to_line()["seconds_to_target"] is None


def test_of_two_seeds_one_that_reached_it_is_no_median():
    assert make_configuration(1.0, None).to_line()["seconds_to_target"] is None


def test_what_cannot_be_trusted_is_not_in_the_median(tmp_path):
    plan = train(tmp_path, make_training(), flags=(Flag("foreign_load", "others computed"),))
    table = make_configuration_table(make_configurations(collected(tmp_path, plan)))
    assert table["seconds_to_target"].isna().all()
    assert (table["seeds_measured"] == 0).all()


def test_what_was_learnt_is_true_however_disturbed_the_time_was(tmp_path):
    plan = train(tmp_path, make_training(), flags=(Flag("foreign_load", "others computed"),))
    table = make_configuration_table(make_configurations(collected(tmp_path, plan)))
    assert table["epochs_to_target"].notna().any()
    assert table["best_validation_accuracy"].notna().any()


def test_what_was_disturbed_is_forgotten_with_all_that_it_would_go_on_from(tmp_path):
    plan = make_training(learning_rates=[0.1], optimizers=["sgd"], batch_sizes=[16])
    train(tmp_path, plan, flags=(Flag("foreign_load", "others computed"),))
    place = tmp_path / TRAINING / plan.training[0].run.path
    (place / "checkpoint.npz").write_text("weights")
    assert len(forget_training(tmp_path)) == 3
    assert list(place.iterdir()) == []


def test_what_broke_off_is_tried_again_from_its_checkpoint(tmp_path):
    plan = make_training(learning_rates=[0.1], optimizers=["sgd"], batch_sizes=[16])
    train(tmp_path, plan)
    place = tmp_path / TRAINING / plan.training[0].run.path
    (place / "checkpoint.npz").write_text("weights")
    content = read_json(place / "rung0.json") | {"status": "timeout", "valid": False}
    write_json(place / "rung0.json", content)
    assert forget_training(tmp_path) == [place / "rung0.json"]
    assert (place / "checkpoint.npz").exists()


def test_a_sound_record_is_kept(tmp_path):
    train(tmp_path, make_training())
    assert forget_training(tmp_path) == []


def test_the_table_of_runs_reads_back_as_it_was(tmp_path):
    plan = train(tmp_path, make_training(seeds=[0, 1]))
    table = collected(tmp_path, plan)
    (tmp_path / "training.csv").write_text(table.to_csv(index=False))
    again = make_configurations(read_run_table(tmp_path / "training.csv"))
    first, second = (make_configuration_table(found) for found in (make_configurations(table), again))
    pd.testing.assert_frame_equal(first, second, check_dtype=False)


def test_a_failure_of_any_kind_keeps_its_status(tmp_path):
    plan = make_training(learning_rates=[0.1], optimizers=["sgd"], batch_sizes=[16])
    told = train(tmp_path, plan)
    (planned,) = TrainingPlan(plan).runs.values()
    failed = record(
        planned,
        0,
        [{"epoch": 1, "step": 1, "seconds": 1, "samples_per_s": 1, "loss": 1.0, "validation_accuracy": 0.1}],
        status="oom",
        reason="out of memory",
        metrics={},
    )
    write_json(record_path(tmp_path / TRAINING / planned.run.path, 0), failed.to_dict())
    (line,) = collected(tmp_path, told).to_dict("records")
    assert (line["status"], line["reason"]) == ("oom", "out of memory")


def test_the_lucky_seed_of_a_stopped_configuration_leads_no_later_rung(tmp_path):
    """Of the best rate one seed came to the target, and most did not: the rate was stopped."""
    plan = make_training(
        search="halving",
        optimizers=["sgd"],
        batch_sizes=[16],
        learning_rates=[0.1, 1.0, 10.0],
        seeds=[0, 1, 2],
    )
    told, (group,) = plan.to_dict(), TrainingPlan(plan).groups
    lucky = {each.run.path: each for each in plan.training if each.run.learning_rate == 10.0}
    finished = next(iter(lucky))
    stopped = {
        "configuration": lucky[finished].run.configuration,
        "runs": list(lucky)[1:],
        "reason": "ranked",
    }
    others = [each for each in plan.training if each.run.path not in lucky]
    first = {"go_on": [each.run.path for each in others], "finished": {finished: 0}, "stopped": [stopped]}
    write_json(tmp_path / verdict_file(group, 0), first)
    for planned in others:
        write_rung(tmp_path, planned, 1)
    write_rung(tmp_path, lucky[finished], 0)
    path = record_path(tmp_path / TRAINING / finished, 0)
    metrics = {"seconds_to_target": 1e-6, "epochs_to_target": 1}
    write_json(path, read_json(path) | {"status": "ok", "metrics": read_json(path)["metrics"] | metrics})
    verdict = judge_rung(told, group, 1, tmp_path)
    assert verdict["finished"][finished] == 0
    assert {each["configuration"] for each in verdict["stopped"]} == {others[-1].run.configuration}
    assert lucky[finished].run.configuration not in verdict["stopped"][0]["reason"]
