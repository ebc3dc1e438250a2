"""What comes after the merge takes rows of other sites as they are, and leaves alone what is theirs."""

import json
import zipfile

import pytest

from hwfit.archive import write_archive
from hwfit.collect import forget_transient
from hwfit.comparison_options import EXPORT_KEYS, taken_from
from hwfit.confirm import confirm
from hwfit.matrix import Plan
from hwfit.records import Cell, write_json
from hwfit.report.inputs import read_contexts, read_environments, read_plan
from hwfit.report.language import LANGUAGES, Language
from hwfit.report.provenance import sites
from hwfit.sections import Study
from hwfit.tracking.register import answer
from sites import export_of, measure, merge_into

MATRIX = {"models": ["net"], "devices": ["cpu"], "runtimes": ["torch"], "batch_sizes": [1]}
ROUNDS = {"confirm_rounds": 1, "most_confirm_rounds": 3}


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """The working directory of a study that another site's rows are merged into."""
    directory = tmp_path / "here"
    measure(directory, site="here", matrix=MATRIX, measurement=ROUNDS)
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def plan(directory, tmp_path):
    plan = merge_into(directory, export_of(tmp_path / "there", matrix=MATRIX, weights="b" * 64))
    plan["combinations"][1] |= {"status": "", "reason": ""}
    write_json(directory / "results/plan.json", plan)
    return plan


def test_retrying_forgets_nothing_of_another_site(plan, directory):
    (theirs,) = directory.glob("results/profiles/cpu@gpu-box/**/bs1.json")
    record = json.loads(theirs.read_text()) | {"status": "timeout", "reason": "late"}
    write_json(theirs, record)
    (ours,) = directory.glob("results/profiles/cpu/**/bs1.json")
    write_json(ours, record | {"device": "cpu"})
    assert forget_transient(directory) == [ours]
    assert theirs.exists()


def test_rows_here_get_rounds_until_they_can_be_told_from_those_of_another_site(plan):
    ours, theirs = (
        {"cell": {k: entry[k] for k in Cell.__dataclass_fields__}, "batch_size": 1}
        for entry in plan["combinations"]
    )
    measured = []

    def measure_again(planned, cell, round, batch_sizes):
        measured.append((cell.device, round))

    own = Plan(Study.model_validate(plan["study"]))
    for merged in (own.to_dict(), plan):
        measured.clear()
        confirm(own, [ours], [theirs], measure_again, merged=merged)
        # Alone it is beyond doubt after the rounds that all get; equal rows of another site are not.
        wanted = 1 if merged is not plan else ROUNDS["most_confirm_rounds"]
        assert measured == [("cpu", 1 + number) for number in range(wanted)]


def test_the_archive_beside_the_report_has_the_records_of_all_sites(plan, directory, tmp_path):
    assert write_archive(plan, tmp_path / "measurements.zip", directory) == 2
    with zipfile.ZipFile(tmp_path / "measurements.zip") as archive:
        assert any(name.startswith("profiles/cpu@gpu-box/") for name in archive.namelist())


def test_the_report_sees_under_which_conditions_each_site_measured(plan, directory):
    contexts = read_contexts(plan, directory)
    assert contexts["cpu · torch"]["host"] == {"here": 1}
    assert contexts["cpu@gpu-box · torch"]["host"] == {"gpu-box": 1}
    # Environments of other sites are in their records, not among those that were built here.
    assert set(read_environments(plan, directory)) == {"torch-cpu"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_says_what_came_from_where_and_what_is_not_compared(directory, tmp_path, language):
    there = export_of(
        tmp_path / "there",
        matrix=MATRIX,
        weights="b" * 64,
        cost={"currency": "EUR"},
        devices={"cpu": {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}, "price_per_hour": 1.0}},
    )
    (said,) = sites(read_plan(merge_into(directory, there), directory), Language(language))
    for part in ("<b>gpu-box</b>", "cpu", "export.zip", "EUR", "cost.site_prices"):
        assert part in said


def test_a_choice_of_another_site_is_registered_there(plan):
    row = {k: plan["combinations"][1][k] for k in (*Cell.__dataclass_fields__, "batch_size")}
    entry = {"model": "net", "scenario": "single_stream", "verdict": "chosen", "chosen": row}
    told = answer(None, entry, Plan(Study.model_validate(plan["study"])))
    assert told["version"] is None
    assert told["said"] == "net: was chosen on a device of gpu-box, which has its files: register it there"


@pytest.mark.parametrize(
    ("told", "options"),
    [
        ({"to": "it's there.zip", "artifacts": True}, ["--to=it's there.zip", "--artifacts"]),
        ({"artifacts": "true"}, ["--artifacts"]),
        ({"artifacts": False}, []),
        ({}, []),
    ],
)
def test_what_the_command_line_says_of_an_export_is_no_part_of_the_study(told, options):
    study = {"matrix": {"models": ["net"]}}
    assert taken_from(study | told, [], EXPORT_KEYS) == (study, options)
