"""What the report says of memory: the parts of a peak, the prediction beside it, and what could not fit."""

import pandas as pd
import pytest

from hwfit.records import COLUMNS
from hwfit.report.language import LANGUAGES, Language
from hwfit.report.memory import memory_section
from hwfit.report.table import prepare
from tables import make_row

MEMORY = {
    "peak_memory_mb": 400.0,
    "framework_memory_mb": 200.0,
    "model_size_mb": 100.0,
    "working_memory_mb": 100.0,
    "predicted_memory_mb": 440.0,
}


def line(batch_size=8, runtime="torch", **more):
    row = make_row("lenet-5", "cpu", runtime, "baseline", batch_size) | {"status": "ok", "valid": True}
    return row | {"flags": ""} | MEMORY | more


def section(*rows, language="en"):
    return memory_section(prepare(pd.DataFrame(rows, columns=list(COLUMNS)), {}), Language(language))


def test_a_line_has_the_parts_of_the_peak_and_how_far_the_prediction_was_off():
    (told,) = section(line())["lines"]
    assert told.names == ["lenet-5", "cpu", "torch", "baseline"]
    assert told.figures == ["200", "100", "100", "400", "440", "+10%"]
    assert told.widths == {"framework": 50, "weights": 25, "working": 25}


def test_a_cell_is_shown_at_its_largest_measured_batch_size():
    found = section(line(1), line(8), line(32, status="oom", flags="memory_short"))
    assert [told.batch_size for told in found["lines"]] == ["8"]


def test_without_parts_the_peak_is_drawn_whole():
    (told,) = section(line(framework_memory_mb=None, working_memory_mb=None))["lines"]
    assert told.widths == {"working": 100}


@pytest.mark.parametrize("language", LANGUAGES)
def test_predictions_are_judged_over_all_rows(language):
    rows = (line(1, predicted_memory_mb=400.0), line(8), line(32, predicted_memory_mb=800.0))
    (sentence,) = section(*rows, language=language)["sentences"]
    assert "10%" in sentence
    assert "100%" in sentence


def test_what_was_predicted_not_to_fit_is_counted_with_what_came_of_it():
    tried = line(64, status="oom", flags="memory_short", peak_memory_mb=None)
    implied = line(128, status="skipped", flags="memory_short", peak_memory_mb=None)
    found = section(line(8, flags="memory_short", predicted_memory_mb=None), tried, implied)
    (sentence,) = found["sentences"]
    assert "3 rows were predicted to need more memory than there is; of these, 2 did not run" in sentence


def test_a_study_that_measured_no_memory_has_no_section():
    assert section(line(peak_memory_mb=None, predicted_memory_mb=None)) is None
