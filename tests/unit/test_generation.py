"""Language models: what is measured of a request, how right it is, and the liars that are found out."""

import json

import numpy as np
import pytest
from test_profile import measure

from hwfit.catalog import generation_lengths, generation_scenario, is_generation
from hwfit.worker import outputs
from hwfit.worker.errors import Incorrect, Unsupported
from hwfit.worker.generation import evaluation, text
from hwfit.worker.scenarios.generate import token_figures
from jobs import LinearRuntime
from language import OUTPUT, PROMPT, VOCABULARY, WIDTH, LanguageSession, MeanDecoder, make_language_job


class LanguageRuntime(LinearRuntime):
    def open_session(self, request):
        return self.session(request)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Measures a session of a given class in the worker; returns its profiles."""

    def run(session=LanguageSession, **changes):
        job = make_language_job(tmp_path, **changes)
        monkeypatch.setattr("test_profile.LinearRuntime", LanguageRuntime)
        profiles, _ = measure(job, monkeypatch, session)
        return job, profiles

    return run


def test_an_honest_session_gives_figures_that_agree_with_each_other(measured):
    job, profiles = measured()
    for profile in profiles:
        assert profile.status == "ok", profile.reason
        metrics, batch = profile.metrics, profile.batch_size
        with np.load(job.path(batch).with_suffix(".npz")) as stored:
            durations, stamps = stored["durations_s"], stored["stamps_s"]
        assert stamps.shape == (metrics["samples"], OUTPUT)
        assert (np.diff(stamps, axis=1) > 0).all()
        # The request ends when its last token is there.
        assert (stamps[:, -1] <= durations).all()
        first, gap = np.median(stamps[:, 0]), np.median((stamps[:, -1] - stamps[:, 0]) / (OUTPUT - 1))
        assert metrics["time_to_first_token_ms"] == pytest.approx(first * 1e3)
        assert metrics["time_per_output_token_ms"] == pytest.approx(gap * 1e3)
        assert metrics["prefill_tokens_per_s"] == pytest.approx(batch * PROMPT / first)
        assert metrics["decode_tokens_per_s"] == pytest.approx(batch / gap)
        assert metrics["throughput_samples_per_s"] == pytest.approx(batch / durations.mean())
        assert metrics["kv_cache_mb"] == batch * (PROMPT + OUTPUT) * WIDTH * 4 / 1e6
        assert metrics["fidelity"] == 1
        assert metrics["perplexity_increase"] == pytest.approx(0, abs=1e-6)
        assert profile.details["cache_consistency"] == 1
        assert "accuracy" not in metrics


class OtherWeights(LanguageSession):
    """Runs another model than the one it was given."""

    def __init__(self, request):
        super().__init__(request)
        self.decoder.head = self.decoder.head[:, ::-1]


class ForgetsTheCache(LanguageSession):
    """Decodes from the last token alone."""

    def __init__(self, request):
        super().__init__(request)
        decoder = self.decoder
        decoder.decode = lambda tokens, position, cache: decoder.next(decoder.embeddings[tokens][:, None])


class SwapsSequences(LanguageSession):
    """Writes the cache of one sequence of the batch where another's belongs."""

    def __init__(self, request):
        super().__init__(request)
        decoder, decode = self.decoder, self.decoder.decode
        decoder.decode = lambda tokens, position, cache: decode(tokens[::-1], position, cache)


class WritesLessWhileTimed(LanguageSession):
    """Honest until it has been called often enough to be timed; then it repeats the first token."""

    calls = 0

    def run(self, placed):
        written = super().run(placed)
        type(self).calls += 1
        if self.calls > 40:
            written.tokens = written.tokens[:1] * OUTPUT
        return written


@pytest.mark.parametrize(
    ("liar", "reason"),
    [
        (OtherWeights, "largest difference from the fp32 reference"),
        (ForgetsTheCache, "written with the cache"),
        (WritesLessWhileTimed, "tokens are not those of the same call before timing"),
    ],
)
def test_a_liar_is_incorrect_and_has_no_figures(measured, liar, reason):
    _, profiles = measured(liar)
    for profile in profiles:
        assert profile.status == "incorrect", profile.metrics
        assert profile.metrics == {"predicted_memory_mb": None}
    assert reason in profiles[0].reason


def test_sequences_that_are_mixed_up_show_where_there_are_several(measured):
    _, (one, four) = measured(SwapsSequences)
    assert one.status == "ok"
    assert four.status == "incorrect"


def test_a_coarse_session_may_differ_and_says_by_how_much(measured):
    class Coarse(LanguageSession):
        def __init__(self, request):
            super().__init__(request)
            self.decoder.head = np.round(self.decoder.head)

    _, profiles = measured(Coarse, passes=[{"pass": "cast", "dtype": "bfloat16"}])
    for profile in profiles:
        assert profile.status == "ok", profile.reason
        assert 0.3 < profile.metrics["fidelity"] < 1
        assert profile.metrics["relative_error"] > 0.01
        # Of a text that nobody wrote, any model knows as little: the increase may be of either sign.
        assert profile.metrics["perplexity_increase"] != 0


def test_the_windows_are_read_once_for_all_batch_sizes(measured):
    class Counts(LanguageSession):
        read = 0

        def logits(self, tokens, first=0):
            type(self).read += first == 0
            return super().logits(tokens, first)

    _, profiles = measured(Counts)
    assert [profile.status for profile in profiles] == ["ok", "ok"]
    windows = min(text.WINDOWS, 2000 // text.WINDOW_TOKENS)
    assert Counts.read == -(-windows // evaluation.WINDOWS_A_CALL)


def test_later_rounds_take_their_perplexity_from_the_first(measured):
    _, profiles = measured(round=1)
    assert profiles[0].status == "ok"
    assert "perplexity" not in profiles[0].metrics
    assert profiles[0].metrics["time_to_first_token_ms"] > 0


def test_a_request_that_is_longer_than_the_context_is_unsupported(measured):
    _, profiles = measured(prompt=90, output=20)
    assert {p.status for p in profiles} == {"unsupported"}
    assert "110 tokens, the model's context has 100" in profiles[0].reason


def test_prompts_that_are_longer_than_the_text_are_unsupported(measured):
    _, profiles = measured(prompt=2000, output=1)
    assert {p.status for p in profiles} == {"unsupported"}
    assert "the text has 2000 tokens" in profiles[0].reason


def test_one_token_has_a_first_and_no_further_one():
    figures = token_figures(np.array([[0.2], [0.4], [0.2]]), batch_size=2, prompt_tokens=10)
    assert figures == {
        "time_to_first_token_ms": pytest.approx(200),
        "time_per_output_token_ms": None,
        "prefill_tokens_per_s": pytest.approx(100),
        "decode_tokens_per_s": None,
    }


def test_the_name_of_a_scenario_holds_its_lengths():
    assert generation_lengths(generation_scenario(128, 32)) == (128, 32)
    for name in ("single_stream", "generate", "generate-1", "generate-1-2-3", "server"):
        assert generation_lengths(name) is None
        assert not is_generation(name)


def test_the_perplexity_of_a_model_that_knows_nothing_is_its_vocabulary():
    windows = np.random.default_rng(0).integers(0, 7, (5, 20)).astype(np.int32)
    reading = evaluation.read(lambda rows: np.zeros((*rows.shape, 7), np.float32), windows)
    assert reading.perplexity == pytest.approx(7)


def test_perplexity_is_the_mean_surprise_over_all_windows_once():
    """Seven windows in calls of four: the last call is filled up, and its filling does not count."""
    windows = np.random.default_rng(1).integers(0, VOCABULARY, (7, 30)).astype(np.int32)
    logits = MeanDecoder().logits(windows).astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    said = np.take_along_axis(chances[:, :-1], windows[:, 1:, None], axis=-1)
    reading = evaluation.read(MeanDecoder().logits, windows)
    assert reading.perplexity == pytest.approx(np.exp(-np.log(said).mean()), rel=1e-5)
    assert np.array_equal(reading.likeliest, logits.argmax(axis=-1))
    assert np.allclose(reading.last_logits, logits[:, -1], rtol=1e-4)


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    assert evaluation.surprise(logits, np.array([0, 1])) == pytest.approx([0, 0])


def test_logits_that_are_not_finite_are_incorrect():
    def broken(rows):
        return np.full((*rows.shape, 3), np.nan, np.float32)

    with pytest.raises(Incorrect, match="NaN"):
        evaluation.read(broken, np.zeros((4, 5), np.int32))


def test_another_token_is_another_answer_however_near_its_number():
    tokens = np.array([[49_151, 7]], np.int32)
    outputs.require_same(tokens, tokens.copy())
    with pytest.raises(Incorrect, match=r"50\.0% of a timed call's tokens"):
        outputs.require_same(np.array([[49_150, 7]], np.int32), tokens)


def test_passages_are_real_text_from_all_over_it():
    tokens = np.arange(1000, dtype=np.int32)
    rows = text.passages(tokens, np.empty(0, np.int32), 100, 10)
    assert rows.shape == (10, 100)
    assert rows[0, 0] == 0
    assert rows[-1, -1] == 999
    assert (np.diff(rows, axis=1) == 1).all()
    assert len({row.tobytes() for row in rows}) == 10


def test_what_a_model_wants_before_a_text_stands_before_each_passage():
    rows = text.passages(np.arange(100, dtype=np.int32), np.array([999], np.int32), 10, 5)
    assert rows.shape == (5, 10)
    assert (rows[:, 0] == 999).all()
    assert rows[-1, -1] == 99


def test_a_short_text_gives_as_many_passages_as_it_has():
    assert len(text.passages(np.arange(12, dtype=np.int32), np.empty(0, np.int32), 10, 256)) == 3
    with pytest.raises(Unsupported, match="the text has 9 tokens"):
        text.passages(np.arange(9, dtype=np.int32), np.empty(0, np.int32), 10, 256)


class Tokenizer:
    """A number a letter, and, as some want it, one for the beginning of a text."""

    bos_token_id = 0

    def __init__(self, begins: bool) -> None:
        self.begins = begins

    def __call__(self, text, add_special_tokens=True):
        start = [0] if self.begins and add_special_tokens else []
        return {"input_ids": start + [ord(letter) for letter in text]}


@pytest.mark.parametrize(("begins", "prefix"), [(True, [0]), (False, [])])
def test_texts_become_one_row_of_tokens_and_the_models_prefix(begins, prefix):
    tokens, found = text.tokens_of({"texts": np.array(["ab", "c"])}, Tokenizer(begins), "mine.npz")
    assert tokens.tolist() == [ord(letter) for letter in "ab\n\nc"]
    assert found.tolist() == prefix
    assert tokens.dtype == found.dtype == np.int32


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        ({"x": np.zeros(3)}, "holds neither texts nor tokens; it holds x"),
        ({"texts": np.array(["a"])}, "the model has no tokenizer: give it tokens"),
        ({"tokens": np.zeros(10)}, "expected whole numbers in one row"),
        ({"tokens": np.zeros((5, 2), int)}, "expected whole numbers in one row"),
    ],
)
def test_data_that_is_no_text_is_refused_with_the_reason(dataset, reason):
    with pytest.raises(ValueError, match=r"mine\.npz") as caught:
        text.tokens_of(dataset, None, "mine.npz")
    assert reason in str(caught.value)


def test_the_record_says_nothing_of_tokens_that_json_cannot(measured):
    job, _ = measured(output=1)
    record = json.loads(job.path(1).read_text())
    assert record["metrics"]["time_per_output_token_ms"] is None
    assert record["status"] == "ok"
