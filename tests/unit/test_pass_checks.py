"""Passes that undo each other, or lack what they need, are refused with the reason, before any job starts."""

import pytest
from pydantic import TypeAdapter, ValidationError

from hwfit.config_checks import check_optimizations
from hwfit.pass_checks import check_passes
from hwfit.pass_sections import Optimization


@pytest.mark.parametrize(
    "passes",
    [
        ["prune_channels", "prune", "quantize_aware", "quantize_static"],
        ["prune_channels", "quantize_dynamic"],
        ["prune_2_4"],
        ["prune_2_4", "sparse_2_4", "compile"],
        ["prune_2_4", "quantize_aware"],
    ],
)
def test_what_goes_together_is_taken(passes):
    assert list(check_passes(passes)) == []


@pytest.mark.parametrize(
    ("passes", "place", "reason"),
    [
        (["sparse_2_4"], 0, "write prune_2_4 first"),
        (["prune", "prune_channels"], 1, "the zeros are no longer the share"),
        (["prune_2_4", "prune_channels"], 1, "write prune_channels first"),
        (["quantize_aware", "prune_channels"], 1, "write prune_channels first"),
        (["quantize_aware", "prune"], 1, "write prune first"),
        (["quantize_aware", "prune_2_4"], 1, "write prune_2_4 first"),
        (["prune", "prune_2_4"], None, "both zero the weights of least magnitude"),
        (["prune_2_4", "cast", "sparse_2_4"], None, "has a dtype of its own"),
        (["prune_2_4", "sparse_2_4", "quantize_dynamic"], None, "no device does both"),
    ],
)
def test_what_does_not_is_refused_with_the_reason(passes, place, reason):
    ((where, message),) = check_passes(passes)
    assert where == place
    assert reason in message


def test_the_place_is_named_in_optimizations_yaml():
    optimization = Optimization(passes=[{"pass": "prune", "amount": 0.5}, {"pass": "sparse_2_4"}])
    ((path, message),) = check_optimizations({"mine": optimization})
    assert path == ("mine", "passes", 1)
    assert "two in every four are zero" in message


@pytest.mark.parametrize(
    "step",
    [
        {"pass": "prune_channels"},
        {"pass": "prune_channels", "amount": 1.0},
        {"pass": "prune_channels", "amount": 0.3, "epochs": -1},
        {"pass": "quantize_aware"},
        {"pass": "quantize_aware", "epochs": 0},
        {"pass": "quantize_aware", "epochs": 1, "bits": 9},
        {"pass": "sparse_2_4", "dtype": "float32"},
    ],
)
def test_parameters_that_mean_nothing_are_refused(step):
    with pytest.raises(ValidationError):
        TypeAdapter(Optimization).validate_python({"passes": [step]})


def test_a_pattern_does_not_outlast_retraining():
    for name in ("prune_gradually", "deep_compression"):
        ((place, said),) = [f for f in check_passes(["prune_2_4", name]) if "has both" in f[1]]
        assert place is None and "fills the pattern's zeros again" in said
