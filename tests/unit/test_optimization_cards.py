"""docs/optimizations.md has a card of one form for each pass, with the catalog's runtimes and devices."""

import re
from pathlib import Path

import pytest

from hwfit.catalog import ACCELERATORS, PASSES, RUNTIMES

PAGE = (Path(__file__).parents[2] / "docs" / "optimizations.md").read_text()
FORM = ["What it does", "When it pays", "Cost", "Source", "Runs in", "Where it was run"]


def cards() -> dict[str, dict[str, str]]:
    """The fields of each card, by its pass."""
    _, *parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    return {
        name: dict(re.findall(r"^- \*\*(.+?):\*\* (.+?)(?=\n- |\n*\Z)", text, re.MULTILINE | re.DOTALL))
        for name, _, text in (part.partition("\n") for part in parts)
    }


def test_every_pass_has_a_card_and_no_other():
    assert set(PASSES) == set(cards())


@pytest.mark.parametrize("name", cards())
def test_a_card_has_every_field_in_order(name):
    assert list(cards()[name]) == FORM


@pytest.mark.parametrize("name", PASSES)
def test_a_card_names_the_runtimes_and_devices_of_the_catalog(name):
    runtimes, _, devices = cards()[name]["Runs in"].partition("; on ")
    assert tuple(sorted(runtimes.split(", "))) == tuple(sorted(PASSES[name].runtimes))
    assert set(runtimes.split(", ")) <= set(RUNTIMES)
    assert set(devices.split(", ") if devices else ACCELERATORS) == set(PASSES[name].accelerators)
