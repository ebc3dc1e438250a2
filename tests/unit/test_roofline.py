"""The roofline: work and traffic from the table, limits from the inventory, and what bounds a row."""

import pytest

from hwfit.roofline import Roofs, judge, number_format, roofs_of, work_of

# The ridge is at 10 FLOP a byte in fp32, at 30 in bf16.
ROOFS = Roofs({"fp32": 100.0, "bf16": 300.0}, gb_s=10.0)


def line(**more):
    """A row of 8 samples a call: 8 MFLOP, 1 MB of activations each, 8 MB of weights."""
    told = {"scenario": "single_stream", "batch_size": 8, "number_format": "fp32"}
    told |= {"flops_per_sample": 8e6, "throughput_samples_per_s": 1e3, "model_size_mb": 8.0}
    return told | {"activation_mb_per_sample": 1.0} | more


def token(**more):
    """A language model of 100 M parameters in fp32 that writes 20 tokens a second to each of 2 sequences."""
    told = {"scenario": "generate-96-64", "batch_size": 2, "parameters": 1e8, "model_size_mb": 400.0}
    return told | {"kv_cache_mb": 100.0, "decode_tokens_per_s": 40.0} | more


def test_weights_are_read_once_a_call_and_activations_written_and_read():
    work = work_of(line())
    assert work.intensity == pytest.approx(8e6 / (8e6 / 8 + 2 * 1e6))
    assert work.gflops == pytest.approx(8.0)
    assert work.resident_mb == pytest.approx(8 + 8 * 1)


def test_activations_are_as_wide_as_the_arithmetic():
    assert work_of(line(number_format="bf16")).intensity == pytest.approx(8e6 / (8e6 / 8 + 1e6))


def test_a_further_token_reads_the_weights_and_what_is_filled_of_the_cache_for_the_whole_batch():
    work = work_of(token())
    # Of 160 positions 128 are filled on average.
    assert work.intensity == pytest.approx(2 * 1e8 * 2 / (400e6 + 80e6))
    assert work.gflops == pytest.approx(2 * 1e8 * 40 / 1e9)


@pytest.mark.parametrize(
    "told",
    [
        line(flops_per_sample=None),
        line(activation_mb_per_sample=float("nan")),
        line(throughput_samples_per_s=0.0),
        line(scenario="server"),
        line(number_format=None),
        token(decode_tokens_per_s=None),
        token(parameters=None),
    ],
    ids=str,
)
def test_what_is_not_told_has_no_work(told):
    assert work_of(told) is None


def test_left_of_the_ridge_memory_bounds_and_right_of_it_arithmetic():
    left = judge(work_of(line()), "fp32", ROOFS)
    assert (left.bound, left.share) == ("memory", pytest.approx(8 / (10 * 8 / 3)))
    right = judge(work_of(line(flops_per_sample=8e8, throughput_samples_per_s=50.0)), "fp32", ROOFS)
    assert (right.bound, right.share) == ("compute", pytest.approx(0.4))


def test_a_row_is_held_against_the_peak_of_its_own_format():
    work = work_of(line(flops_per_sample=8e7, number_format="fp32"))
    assert judge(work, "fp32", ROOFS).bound == "compute"
    assert judge(work, "bf16", ROOFS).bound == "memory"


@pytest.mark.parametrize(
    ("number_format", "roofs"),
    [("int8", ROOFS), (None, ROOFS), ("fp32", Roofs({"fp32": 100.0})), ("fp32", Roofs(gb_s=10.0))],
)
def test_without_both_limits_nothing_is_said(number_format, roofs):
    assert judge(work_of(line()), number_format, roofs) is None


@pytest.mark.parametrize(("cache_mb", "bound"), [(15.0, "memory"), (17.0, "cache"), (None, "memory")])
def test_what_fits_into_the_last_cache_is_not_bound_by_memory(cache_mb, bound):
    told = judge(work_of(line()), "fp32", Roofs(ROOFS.gflops, ROOFS.gb_s, cache_mb))
    assert told.bound == bound
    if bound == "cache":
        assert told.share == pytest.approx(8 / 100)


def test_a_cache_changes_nothing_where_arithmetic_is_the_lower_limit():
    work = work_of(line(flops_per_sample=8e8))
    assert judge(work, "fp32", Roofs(ROOFS.gflops, ROOFS.gb_s, 1e6)).bound == "compute"


def test_bandwidth_is_the_better_of_copying_and_reading_and_what_is_no_number_is_no_limit():
    peaks = {"matmul_float32_gflops": 9.0, "matmul_bfloat16_gflops": "fast", "memory_copy_gb_s": 2.0}
    roofs = roofs_of({"peaks": peaks | {"memory_read_gb_s": 3.0}, "last_cache_mb": 33.6})
    assert roofs == Roofs({"fp32": 9.0}, 3.0, 33.6)
    assert roofs_of({}) == roofs_of({"peaks": 3}) == Roofs()


CAST = {"pass": "cast", "dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("operators", "passes", "expected"),
    [
        ({}, [], "fp32"),
        ({}, [CAST], "bf16"),
        ({}, [CAST, {"pass": "threads", "count": 2}], "bf16"),
        ({}, [{"pass": "quantize_static"}], "int8"),
        # Weights alone: the products are of floats.
        ({}, [{"pass": "quantize_weights", "dtype": "int4"}], "fp32"),
        # What the runtime tells counts more than what it was asked for.
        ({"f32": 9, "bf16": 1}, [CAST], "fp32"),
        ({"u8": 20, "i8": 11, "f32": 30}, [], "int8"),
        ({"i64": 99, "FP16": 1}, [], "fp16"),
        # Products with zeros are skipped: a dense peak is no limit.
        ({}, [{"pass": "prune_2_4"}, {"pass": "sparse_2_4", "dtype": "float16"}], None),
        ({}, [{"pass": "cast", "dtype": "float64"}], None),
    ],
)
def test_a_row_computes_in_what_most_of_its_operators_do_else_in_what_its_passes_ask_for(
    operators, passes, expected
):
    assert number_format(operators, passes) == expected
