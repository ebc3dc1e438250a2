"""Both searches on one recorded sweep, by the whole workflow: the guided one names what the other names."""

from __future__ import annotations

import pytest

from projects import Project
from recordings import make_config, record

# Models, devices, runtimes, optimizations.
SIZE, SIZES = (2, 1, 3, 3), (1, 4, 16, 64)
FEW_ROUNDS = {"confirm_rounds": 1, "most_confirm_rounds": 1}


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> dict[str, Project]:
    """A project of each search, whose sweeps were replayed from the same recording."""
    directory = tmp_path_factory.mktemp("searched")
    record(make_config(*SIZE, SIZES), directory / "recording")
    projects = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWFIT_RECORDED", str(directory / "recording"))
        patch.setenv("HWFIT_RECORDED_PACE", "0")
        for search in ("exhaustive", "guided"):
            projects[search] = Project(directory / search)
            parts = make_config(*SIZE, SIZES, measurement={"search": search} | FEW_ROUNDS)
            projects[search].configure(parts.pop("config"), **parts)
            projects[search].run("--scheduler", "greedy", "--", "reports/recommendation.json")
    return projects


def names(row: dict) -> tuple:
    return tuple(row[name] for name in ("device", "runtime", "optimization", "batch_size"))


def test_the_winner_of_each_model_is_the_same_or_one_of_its_tie(searched):
    whole, guided = (searched[search].recommendation()["models"] for search in ("exhaustive", "guided"))
    assert len(whole) == 2
    for wanted, found in zip(whole, guided, strict=True):
        assert names(found["chosen"]) in [names(row) for row in [wanted["chosen"], *wanted["tied"]]]


def test_most_combinations_are_never_measured_and_each_says_why(searched):
    table = searched["guided"].table()
    assert len(table) == len(searched["exhaustive"].table())
    measured = set((searched["guided"].directory / "results/profiles").glob("**/round0"))
    assert len(measured) < 18, "fewer cells than there are"
    skipped = table[table["status"] == "skipped"]
    assert len(skipped) > len(table) / 2
    assert skipped["reason"].str.startswith("guided search: ").all()


def test_what_fails_has_the_same_status_in_both(searched):
    def failed(search: str) -> dict[tuple, str]:
        lines = searched[search].table().to_dict("records")
        bad = [line for line in lines if line["status"] not in ("ok", "skipped")]
        return {(line["model"], *names(line)): line["status"] for line in bad}

    whole = failed("exhaustive")
    assert failed("guided").items() <= whole.items()
