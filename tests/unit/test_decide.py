"""The decision: limits first, then the objective, with doubt; and a reason for every row."""

import math

import numpy as np
import pytest

from hwfit.decide import contenders, decide
from hwfit.records import Flag
from hwfit.series import exceedance_verdict
from hwfit.uncertainty import Estimate, draws, estimate, pooled_spread
from rows import make_candidate


def test_the_fastest_feasible_row_is_chosen_and_the_others_say_by_how_much_they_are_slower():
    fast, slow = make_candidate("fast", p50_ms=5), make_candidate("slow", p50_ms=10)
    decision = decide("net", [slow, fast], "throughput", {})
    assert decision.verdict == "chosen"
    assert decision.chosen is fast
    assert decision.runner_up is slow
    assert decision.margin == pytest.approx(1.0)
    assert decision.probability_best > 0.99
    assert slow.verdict == "dominated"
    assert "50.0% less than cpu/torch/fast/batch 1" in slow.reason


def test_a_row_over_a_limit_is_rejected_with_the_figure_and_the_overshoot():
    fast, slow = make_candidate("fast", p50_ms=61, batch_size=32), make_candidate("slow", p50_ms=40)
    decision = decide("net", [fast, slow], "throughput", {"latency_p90_ms": 50})
    assert decision.chosen is slow
    assert fast.verdict == "rejected"
    assert fast.reason == "p90 61 ms > 50 ms, over by 22%"


@pytest.mark.parametrize(
    ("limit", "value", "column", "good", "bad"),
    [
        ("max_memory_mb", 200, "peak_memory_mb", 150, 250),
        ("max_model_size_mb", 10, "model_size_mb", 9, 11),
        ("min_fidelity", 0.98, "fidelity", 0.99, 0.97),
        ("max_accuracy_drop", 0.01, "accuracy_drop", 0.0, 0.02),
        ("max_energy_j_per_sample", 1, "energy_j_per_sample", 0.5, 2),
        ("max_power_w", 100, "power_w", 99, 101),
        ("max_cost_usd_per_million", 5, "cost_usd_per_million", 4, 6),
        ("max_cost_per_million", 5, "cost_per_million", 4, 6),
        ("min_throughput_samples_per_s", 50, "throughput_samples_per_s", 100, 20),
    ],
)
def test_every_limit_is_judged_on_its_own_column(limit, value, column, good, bad):
    within, beyond = make_candidate("within", **{column: good}), make_candidate("beyond", **{column: bad})
    decision = decide("net", [within, beyond], "throughput", {limit: value})
    assert decision.chosen is within
    assert beyond.verdict == "rejected"
    assert column in beyond.reason


def test_a_figure_that_was_not_measured_never_meets_a_limit():
    candidate = make_candidate()
    decision = decide("net", [candidate], "throughput", {"max_energy_j_per_sample": 1})
    assert decision.verdict == "provisional"
    assert candidate.verdict == "unproven"
    assert candidate.reason == "energy_j_per_sample was not measured"


def test_a_row_without_the_objective_never_wins():
    candidates = [
        make_candidate("cheap", cost_per_million=None),
        make_candidate("dear", cost_per_million=9.0),
    ]
    decision = decide("net", candidates, "cost", {})
    assert decision.chosen is candidates[1]
    assert candidates[0].reason == "cost was not measured"


def test_a_measurement_that_cannot_be_trusted_never_wins():
    flag = Flag("foreign_load", "others used 60% of the cores while this was measured", 0.6)
    fast, slow = make_candidate("fast", p50_ms=1, flags=(flag,)), make_candidate("slow", p50_ms=10)
    decision = decide("net", [fast, slow], "throughput", {})
    assert decision.chosen is slow
    assert fast.verdict == "rejected"
    assert "others used 60%" in fast.reason


def test_rows_that_cannot_be_told_apart_are_a_tie_and_the_simpler_wins_it():
    complex_one = make_candidate("prune-cast", p50_ms=9.9, relative_error=0.02)
    simple_one = make_candidate("baseline", p50_ms=10, relative_error=0.02)
    decision = decide("net", [complex_one, simple_one], "throughput", {})
    assert decision.chosen is simple_one
    assert decision.tied == [complex_one]
    assert complex_one.verdict == "tied"
    assert "cannot be told apart" in decision.summary


def test_a_tie_goes_to_the_cheaper_device_before_the_simpler_optimization():
    dear = make_candidate("baseline", p50_ms=10, relative_error=0.02, price=2.0, device="gpu0")
    cheap = make_candidate("prune-cast", p50_ms=10, relative_error=0.02, price=1.0)
    assert decide("net", [dear, cheap], "throughput", {}).chosen is cheap


def test_a_limit_within_the_interval_is_unproven():
    candidate = make_candidate(p50_ms=10, relative_error=0.02)
    decision = decide("net", [candidate], "latency", {"latency_p50_ms": 10.1})
    assert decision.verdict == "provisional"
    assert "too close to" in candidate.reason
    assert "Provisional" in decision.summary


def test_a_proven_row_wins_over_a_faster_unproven_one():
    samples = np.r_[np.full(360, 5.0), np.full(40, 60.0)]
    fast, slow = make_candidate("fast", p50_ms=5, samples_ms=samples), make_candidate("slow", p50_ms=20)
    decision = decide("net", [fast, slow], "throughput", {"latency_p90_ms": 50})
    assert decision.chosen is slow
    assert fast.verdict == "unproven"


def test_without_labels_the_share_of_changed_answers_bounds_the_accuracy_lost():
    close, far = make_candidate("close", fidelity=0.995), make_candidate("far", fidelity=0.95, p50_ms=1)
    decision = decide("net", [close, far], "throughput", {"max_accuracy_drop": 0.01})
    assert decision.chosen is close
    assert far.verdict == "unproven"
    assert "no labels" in far.reason


def test_a_limit_on_accuracy_does_not_apply_to_a_task_without_accuracy():
    decision = decide(
        "net", [make_candidate(task="embedding", fidelity=0.9)], "throughput", {"max_accuracy_drop": 0.01}
    )
    assert decision.verdict == "chosen"


def test_when_nothing_fits_the_nearest_misses_and_the_one_limit_to_relax_are_named():
    near = make_candidate("near", p50_ms=55, peak_memory_mb=50.0)
    far = make_candidate("far", p50_ms=500, peak_memory_mb=500.0)
    decision = decide("net", [far, near], "throughput", {"latency_p90_ms": 50, "max_memory_mb": 100})
    assert decision.verdict == "none"
    assert decision.chosen is None
    assert decision.nearest_misses == [near, far]
    assert "Relaxing latency_p90_ms from 50 ms to 56" in decision.advice


def test_nothing_measured_is_an_answer_too():
    candidates = [
        make_candidate("a", status="unavailable", reason="no GPU"),
        make_candidate("b", status="oom"),
    ]
    decision = decide("net", candidates, "throughput", {})
    assert decision.verdict == "none"
    assert candidates[0].reason == "no GPU"
    assert {c.verdict for c in candidates} == {"not_measured"}


def test_contenders_are_the_leader_the_runner_up_and_what_may_still_win():
    near = [make_candidate(f"near{i}", p50_ms=10 + i / 10, relative_error=0.05) for i in range(4)]
    far = [make_candidate(f"far{i}", p50_ms=30 + i, relative_error=0.05) for i in range(3)]
    assert set(map(id, contenders(far + near, "throughput", {}, 10, 0.05))) == set(map(id, near))
    assert len(contenders(far + near, "throughput", {}, 3, 0.05)) == 3
    lonely = [make_candidate("first", p50_ms=1), *far]
    assert [c.row.cell.optimization for c in contenders(lonely, "throughput", {}, 5, 0.05)] == [
        "first",
        "far0",
    ]


def test_the_best_row_is_a_contender_though_its_first_process_was_slow():
    slow_process = make_candidate("best", p50_ms=11.5, relative_error=0.01)
    others = [make_candidate(f"other{i}", p50_ms=10 + i / 10, relative_error=0.01) for i in range(3)]
    assert slow_process in contenders([*others, slow_process], "throughput", {}, 5, 0.05)


def test_a_first_look_is_no_match_for_what_was_confirmed():
    lucky = make_candidate("lucky", p50_ms=9.0)
    confirmed = make_candidate("confirmed", p50_ms=10.0)
    confirmed.row.confirmed = True
    decision = decide("net", [lucky, confirmed], "throughput", {})
    assert decision.chosen is confirmed
    assert lucky.verdict == "dominated"
    assert "not confirmed" in lucky.reason


def test_where_one_row_alone_was_confirmed_the_next_is_a_first_look():
    confirmed, other = make_candidate("confirmed", p50_ms=10.0), make_candidate("other", p50_ms=20.0)
    confirmed.row.confirmed = True
    decision = decide("net", [other, confirmed], "throughput", {})
    assert (decision.chosen, decision.runner_up) == (confirmed, other)
    assert decision.margin == pytest.approx(1.0)
    assert "100% ahead of the first look at cpu/torch/other/batch 1" in confirmed.reason


def test_the_reason_of_a_tie_names_another_row():
    simple = make_candidate("simple", p50_ms=10.0, relative_error=0.05, passes=0)
    quick = make_candidate("quick", p50_ms=9.9, relative_error=0.05, passes=2)
    decision = decide("net", [simple, quick], "throughput", {})
    assert decision.chosen is simple
    assert quick.verdict == "tied"
    assert simple.name in quick.reason
    assert quick.name not in quick.reason


def test_a_price_that_is_not_known_makes_nothing_cheaper():
    unknown = make_candidate("unknown-price-a", price=None, passes=2)
    dear = make_candidate("dear", price=9.0, passes=0)
    assert decide("net", [unknown, dear], "throughput", {}).chosen is dear


def test_what_is_ahead_and_not_yet_proven_to_fit_is_a_contender_beside_the_best_that_is():
    limits = {"latency_p90_ms": 100.0}
    proven = make_candidate("proven", p50_ms=10.0, batch_size=1)
    slower = make_candidate("slower", p50_ms=20.0, batch_size=1)
    unproven = [make_candidate(f"few{i}", p50_ms=60.0 + i, batch_size=32, samples=20) for i in range(4)]
    violated = make_candidate("late", p50_ms=300.0, batch_size=512)
    found = contenders([slower, proven, *unproven, violated], "throughput", limits, 3, 0.05)
    assert [c.row.cell.optimization for c in found] == ["few0", "few1", "proven"]
    found = contenders([slower, proven, unproven[0], violated], "throughput", limits, 3, 0.05)
    assert [c.row.cell.optimization for c in found] == ["few0", "proven"]


def test_the_spread_between_processes_is_pooled_over_rows_and_widens_a_single_round():
    spread = pooled_spread([[10.0, 11.0, 9.0], [100.0, 110.0, 90.0], [5.0]])
    assert spread.degrees == 4
    assert spread.relative == pytest.approx(0.1, rel=0.02)
    alone = estimate([10.0], [0.001], spread)
    thrice = estimate([10.0, 10.0, 10.0], [0.001] * 3, spread)
    assert alone.relative_error == pytest.approx(0.1, rel=0.02)
    assert thrice.relative_error == pytest.approx(alone.relative_error / np.sqrt(3))


def test_one_restless_round_does_not_drown_what_the_others_agree_on():
    spread = pooled_spread([[10.0, 10.1, 9.9], [20.0, 20.2, 19.8]])
    calm = estimate([10.0] * 6, [0.01] * 6, spread)
    restless = estimate([10.0] * 6, [0.01] * 5 + [0.6], spread)
    assert restless.relative_error == pytest.approx(calm.relative_error)


def test_intervals_of_rows_with_few_rounds_cover_the_truth_in_95_percent_of_sweeps():
    generator = np.random.default_rng(3)
    covered = []
    for _ in range(400):
        medians = [10 * np.exp(generator.normal(0, 0.08, size=3)) for _ in range(4)]
        spread = pooled_spread(medians)
        for row in medians:
            low, high = estimate(list(row), [0.005] * 3, spread).interval()
            covered.append(low <= 10 <= high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_the_probability_to_be_best_is_calibrated():
    """Of sweeps that name a winner with 85 to 95% probability, about that share is right."""
    generator = np.random.default_rng(11)
    claimed, right = [], []
    for _ in range(3000):
        truth = 10 * np.exp(generator.normal(0, 0.05, size=3))
        medians = [t * np.exp(generator.normal(0, 0.04, size=4)) for t in truth]
        spread = pooled_spread(medians)
        estimates = [estimate(list(m), [0.002] * 4, spread) for m in medians]
        best = draws(estimates, 500, seed=0).argmin(axis=1)
        shares = np.bincount(best, minlength=3) / 500
        claimed.append(shares.max())
        right.append(shares.argmax() == truth.argmin())
    claimed, right = np.array(claimed), np.array(right)
    near_ninety = (claimed > 0.85) & (claimed < 0.95)
    assert near_ninety.sum() > 200
    assert 0.85 <= right[near_ninety].mean() <= 0.95


@pytest.mark.parametrize(
    ("exceeding", "samples", "verdict"),
    [
        (0, 29, "met"),
        (0, 28, "unproven"),
        (2, 100, "met"),
        (10, 100, "unproven"),
        (20, 100, "violated"),
        (5, 5, "violated"),
    ],
)
def test_a_limit_on_p90_is_decided_by_the_calls_that_go_over_it(exceeding, samples, verdict):
    durations = np.full(samples, 10.0)
    # Spread out evenly: calls that come one by one.
    durations[np.linspace(0, samples - 1, exceeding).astype(int)] = 30.0
    assert exceedance_verdict(durations, 20.0, 0.90) == verdict


def autoregressive(generator, samples, correlation):
    """Calls of about 10 ms whose logarithms follow an AR(1) process of deviation 0.1."""
    noise = generator.standard_normal(samples)
    for i in range(1, samples):
        noise[i] = correlation * noise[i - 1] + math.sqrt(1 - correlation**2) * noise[i]
    return 10 * np.exp(0.1 * noise)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_a_p90_at_its_limit_is_seldom_called_met_or_violated_even_of_correlated_calls(correlation):
    generator = np.random.default_rng(0)
    limit = 10 * math.exp(0.1 * 1.2816)
    verdicts = [
        exceedance_verdict(autoregressive(generator, 200, correlation), limit, 0.90) for _ in range(500)
    ]
    assert verdicts.count("met") / 500 < 0.09
    assert verdicts.count("violated") / 500 < 0.09


def test_a_slow_drift_far_below_a_limit_does_not_keep_it_unproven():
    drifting = autoregressive(np.random.default_rng(0), 60, 0.97)
    assert exceedance_verdict(drifting, 100.0, 0.90) == "met"


def test_calls_over_the_limit_that_come_in_one_run_prove_less():
    durations = np.full(60, 10.0)
    durations[20:36] = 30.0
    assert exceedance_verdict(durations, 20.0, 0.90) == "unproven"
    durations[:] = 10.0
    durations[::4] = 30.0
    assert exceedance_verdict(durations, 20.0, 0.90) == "violated"


def test_an_estimate_without_degrees_to_spare_is_wide():
    assert Estimate(10, 0.05, 2).interval()[1] > Estimate(10, 0.05, 100).interval()[1]


def test_a_batch_job_has_no_latency_to_keep():
    candidate = make_candidate("slow", p50_ms=500, scenario="offline")
    decision = decide("net", [candidate], "latency", {"latency_p90_ms": 50}, "offline")
    assert decision.chosen is candidate
    assert decision.objective.name == "throughput"


def test_a_server_is_judged_by_the_rate_it_holds():
    quick = make_candidate("quick", p50_ms=10, scenario="server", throughput_samples_per_s=100.0)
    busy = make_candidate("busy", p50_ms=2.5, scenario="server", throughput_samples_per_s=400.0)
    decision = decide("net", [quick, busy], "latency", {}, "server")
    assert decision.objective.name == "throughput"
    assert decision.scenario == "server"
    assert decision.chosen is busy


def test_a_latency_is_still_what_counts_where_one_user_waits():
    fast, large = make_candidate("fast", p50_ms=5), make_candidate("large", p50_ms=6, batch_size=8)
    assert decide("net", [fast, large], "latency", {}).chosen is fast
    assert decide("net", [fast, large], "throughput", {}).chosen is large


def make_language_candidate(name, **line):
    return make_candidate(name, task="generation", scenario="generate-128-32", p50_ms=1000, **line)


@pytest.mark.parametrize(
    ("limit", "value", "column", "good", "bad"),
    [
        ("time_to_first_token_ms", 200, "time_to_first_token_ms", 150, 250),
        ("time_per_output_token_ms", 50, "time_per_output_token_ms", 40, 60),
        ("max_perplexity_increase", 0.01, "perplexity_increase", 0.001, 0.1),
    ],
)
def test_the_limits_of_language_models_are_judged_on_their_own_columns(limit, value, column, good, bad):
    within = make_language_candidate("within", **{column: good})
    beyond = make_language_candidate("beyond", **{column: bad})
    decision = decide("lm", [within, beyond], "throughput", {limit: value}, "generate-128-32")
    assert decision.chosen is within
    assert beyond.verdict == "rejected"
    assert column in beyond.reason


def test_a_time_of_a_token_has_the_doubt_of_its_row():
    close = make_language_candidate("close", time_to_first_token_ms=199, relative_error=0.05)
    decision = decide("lm", [close], "throughput", {"time_to_first_token_ms": 200}, "generate-128-32")
    assert decision.verdict == "provisional"
    assert "too close to 200 ms" in close.reason


def test_limits_of_language_models_say_nothing_of_others():
    candidate = make_candidate()
    limits = {"time_to_first_token_ms": 1, "time_per_output_token_ms": 1, "max_perplexity_increase": 0}
    assert decide("net", [candidate], "throughput", limits).verdict == "chosen"
    assert {finding.text for finding in candidate.findings} == {"does not apply: not a language model"}


def test_a_limit_on_accuracy_says_nothing_of_a_language_model():
    candidate = make_language_candidate("any")
    decision = decide("lm", [candidate], "throughput", {"max_accuracy_drop": 0}, "generate-128-32")
    assert decision.verdict == "chosen"


def test_the_answer_for_a_language_model_speaks_of_tokens_and_requests():
    figures = {"time_to_first_token_ms": 150.0, "time_per_output_token_ms": 40.0, "perplexity": 20.75}
    decision = decide("lm", [make_language_candidate("any", **figures)], "latency", {}, "generate-128-32")
    assert decision.objective.name == "latency"
    assert decision.summary.startswith("Prompts of 128 tokens, 32 written to each: Run lm on cpu")
    assert "1 requests/s, first token 150 ms, each further token 40 ms, perplexity 20.75" in decision.summary
