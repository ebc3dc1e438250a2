"""Peak memory before anything is run: the arithmetic, on figures that can be worked out by hand."""

import pytest

from hwfit.memory_prediction import buffer_count, memory_limit_mb, predicted_memory_mb, shortage

# 100 MB of itself, two bytes for each of weights, three for each of activations.
MEASURED = {"base_mb": 100.0, "weight_copies": 2.0, "loading_copies": 0.0, "activation_copies": 3.0}
# A sample is 1 MB in, 2 MB at most at once, and nothing to speak of out.
CARD = {
    "inputs": [{"name": "x", "dtype": "float32", "shape": [250_000]}],
    "samples": 64,
    "output_shape": [1],
    "peak_activation_bytes_per_sample": 2e6,
    "fused_activation_bytes_per_sample": 1e6,
    "largest_weight_bytes": 5e6,
}
LANGUAGE = {"peak_activation_bytes_per_token": 1e5, "cache_bytes_per_token": 1e4}


def predict(
    card=CARD, measured=MEASURED, weights=10e6, passes=(), batch_size=1, lengths=None, is_fused=False
):
    return predicted_memory_mb(card, measured, weights, passes, batch_size, lengths, is_fused)


def test_framework_weights_activations_and_the_inputs_that_are_kept_add_up():
    # Four batches of inputs are kept.
    assert predict() == pytest.approx(100 + 2 * 10 + 3 * 2 + 4 * 1, abs=0.01)
    assert predict(batch_size=8) == pytest.approx(100 + 2 * 10 + 8 * (3 * 2 + 4 * 1), abs=0.01)


def test_a_runtime_that_fuses_operators_has_fewer_activations_at_once():
    assert predict(is_fused=True) == pytest.approx(100 + 2 * 10 + 3 * 1 + 4 * 1, abs=0.01)


def test_a_narrower_format_halves_weights_and_activations_but_no_inputs():
    cast = [{"pass": "cast", "dtype": "bfloat16"}]
    assert predict(passes=cast) == pytest.approx(100 + 10 + 3 + 4, abs=0.01)
    partly = [{"pass": "cast", "dtype": "bfloat16", "keep_depthwise": True}]
    assert predict(passes=partly) == pytest.approx(100 + 10 + 6 + 4, abs=0.01)


def test_quantized_weights_are_fewer_bytes_and_activations_as_many():
    dynamic = [{"pass": "quantize_dynamic"}]
    assert predict(passes=dynamic) == pytest.approx(100 + 5 + 6 + 4, abs=0.01)


def test_what_loading_left_behind_is_room_for_activations():
    loading = MEASURED | {"loading_copies": 4.0}
    # 20 MB left of the largest weight, of which one sample needs 10 and four need 40.
    assert predict(measured=loading) == pytest.approx(100 + 20 + 20, abs=0.01)
    assert predict(measured=loading, batch_size=4) == pytest.approx(100 + 20 + 40, abs=0.01)


def test_a_language_model_has_a_cache_for_prompt_and_output():
    told = predict(LANGUAGE, lengths=(100, 28), batch_size=2)
    assert told == pytest.approx(100 + 20 + 2 * (3 * 10 + 1.28))
    narrow = predict(LANGUAGE, lengths=(100, 28), batch_size=2, passes=[{"pass": "quantize_cache"}])
    assert narrow == pytest.approx(100 + 20 + 2 * (3 * 10 + 0.32))


@pytest.mark.parametrize(
    "unknown",
    [
        {"measured": None},
        {"measured": {}},
        {"measured": MEASURED | {"base_mb": None}},
        {"weights": None},
        {"card": CARD | {"peak_activation_bytes_per_sample": None}},
        {"card": LANGUAGE, "lengths": None},
    ],
)
def test_what_is_not_known_gives_no_prediction(unknown):
    assert predict(**unknown) is None


@pytest.mark.parametrize(
    ("samples", "batch_size", "sample_bytes", "expected"),
    [(64, 8, 1e6, 4), (64, 32, 1e6, 2), (64, 64, 1e6, 2), (96, 32, 1e6, 3), (64, 8, 30e6, 2), (8, 1, 0, 4)],
)
def test_batches_are_kept_as_far_as_samples_and_memory_go(samples, batch_size, sample_bytes, expected):
    assert buffer_count(samples, batch_size, sample_bytes) == expected


def test_the_tighter_limit_counts_and_one_for_processes_holds_on_the_host_alone():
    assert memory_limit_mb("cpu", 400.0, 16_000.0) == (400.0, "memory_limit_mb")
    assert memory_limit_mb("cpu", None, 16_000.0) == (16_000.0, "the device's memory")
    assert memory_limit_mb("cuda", 400.0, 80_000.0) == (80_000.0, "the device's memory")
    assert memory_limit_mb("cuda", 400.0, None) is None


def test_only_what_does_not_fit_is_said():
    limit = (400.0, "memory_limit_mb")
    assert shortage(401.0, limit) == "predicted to take 401 MB of memory; memory_limit_mb is 400 MB"
    assert shortage(400.0, limit) is None
    assert shortage(None, limit) is None
    assert shortage(401.0, None) is None
