"""Cutting a model in two: planted cases in which it must pay, and in which it must not."""

import pytest

from hwfit.pipeline import Block, Link, blocks_of, judge, pipelines, split

FREE = Link(latency_s=0, bytes_per_s=1e12)


def blocks(*times, size=1000):
    return [Block(f"b{i}", first, second, size) for i, (first, second) in enumerate(times)]


def test_a_pipeline_pays_where_each_device_is_good_at_another_half():
    verdict = judge(blocks((1, 9), (1, 9), (9, 1), (9, 1)), FREE, batch_size=8)
    assert verdict.pays
    assert (verdict.pipeline.starts_on, verdict.pipeline.behind) == ("first", "b1")
    assert verdict.pipeline.stages_s == (2, 2)
    assert verdict.gain_over_single == pytest.approx(10)
    # Both devices take 20 s for a whole batch, 10 s for half of it each.
    assert verdict.split_s == 10
    assert verdict.gain_over_split == pytest.approx(5)


def test_the_second_device_may_come_first():
    verdict = judge(blocks((9, 1), (1, 9)), FREE, batch_size=2)
    assert verdict.pays
    assert verdict.pipeline.starts_on == "second"


def test_a_pipeline_of_like_devices_is_no_better_than_splitting_the_batch():
    verdict = judge(blocks((1, 1), (1, 1), (1, 1), (1, 1)), FREE, batch_size=8)
    assert verdict.gain_over_single == pytest.approx(2)
    assert verdict.gain_over_split == pytest.approx(1)
    assert not verdict.pays


def test_a_pipeline_pays_for_a_batch_of_one_which_cannot_be_split():
    verdict = judge(blocks((1, 1), (1, 1)), FREE, batch_size=1)
    assert verdict.split_shares in ((1, 0), (0, 1))
    assert verdict.pays
    assert verdict.gain_over_split == pytest.approx(2)


def test_a_slow_link_makes_it_not_pay():
    slow = Link(latency_s=0.5, bytes_per_s=1000)
    verdict = judge(blocks((1, 1), (1, 1), size=1000), slow, batch_size=1)
    assert verdict.pipeline.transfer_s == 1.5
    assert verdict.pipeline.bottleneck_s == 2.5
    assert verdict.pipeline.blocks_before == 1
    assert verdict.pipeline.latency_s == 3.5
    assert not verdict.pays
    beside = judge(blocks((1, 1), (1, 1), size=1000), Link(0.5, 1000, is_beside=True), batch_size=1)
    assert beside.pipeline.bottleneck_s == 1.5
    assert beside.pays


def test_a_device_that_is_far_slower_is_no_help():
    verdict = judge(blocks((1, 100), (1, 100), (1, 100)), FREE, batch_size=8)
    assert (verdict.single_on, verdict.single_s) == ("first", 3)
    assert verdict.gain_over_single < 1
    assert not verdict.pays


def test_the_smallest_activation_decides_among_equal_stages():
    many = [Block("a", 1, 1, 10_000), Block("b", 0, 0, 10), Block("c", 1, 1, 10)]
    assert judge(many, Link(0, 1000), batch_size=1).pipeline.behind == "b"


def test_a_model_is_not_cut_where_it_cannot_be():
    whole = [Block("a", 1, 1, 10, is_cut=False), Block("b", 1, 1, 10), Block("c", 1, 1, 10)]
    assert {p.behind for p in pipelines(whole, FREE)} == {"b"}
    verdict = judge([Block("a", 1, 1, 10, is_cut=False), Block("b", 1, 1, 10)], FREE, batch_size=1)
    assert verdict.pipeline is None
    assert not verdict.pays
    assert verdict.to_dict()["gain_over_single"] is None


@pytest.mark.parametrize(
    ("size", "first", "second", "shares"), [(8, 1, 3, (6, 2)), (1, 1, 3, (1, 0)), (4, 1, 1000, (4, 0))]
)
def test_a_batch_is_split_where_it_is_done_soonest(size, first, second, shares):
    assert split(size, first, second) == shares


def test_measurements_of_two_models_are_not_mixed():
    def taken(*names, batch_size=1):
        found = [{"name": n, "seconds": 1.0, "output_bytes": 8, "is_cut": True} for n in names]
        return {"batch_size": batch_size, "blocks": found}

    assert [b.name for b in blocks_of(taken("a", "b"), taken("a", "b"))] == ["a", "b"]
    for other in (taken("a", "c"), taken("a", "b", batch_size=2)):
        with pytest.raises(ValueError, match="different models or batch sizes"):
            blocks_of(taken("a", "b"), other)
