"""The tables of docs/training.md: optimizers with their defaults, and the columns of the two CSV files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hwfit.training.records import OPTIMIZERS
from hwfit.training.table import CONFIGURATION_COLUMNS, RUN_COLUMNS

BEGIN = "<!-- tables: made by `python -m hwfit.generated --write` -->"
END = "<!-- end of tables -->"


def inserted(page: str) -> str:
    """A page with the tables between its two markers made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n" + "\n".join(tables()) + f"\n{END}{after}"


def tables() -> Iterator[str]:
    """The lines of all tables."""
    yield from (
        "### Optimizers\n",
        "| optimizer | in | hyperparameters and their defaults |",
        "|---|---|---|",
    )
    for name, optimizer in OPTIMIZERS.items():
        defaults = ", ".join(f"{key} {value:g}" for key, value in optimizer.hyperparameters.items())
        yield f"| `{name}` | {', '.join(optimizer.runtimes)} | {defaults} |"
    yield from columns("reports/training.csv, a row a run", RUN_COLUMNS)
    yield from columns("reports/training-configurations.csv, the seeds together", CONFIGURATION_COLUMNS)


def columns(title: str, meanings: Mapping[str, str]) -> Iterator[str]:
    """The table of a file's columns."""
    yield from (f"\n### {title}\n", "| column | meaning |", "|---|---|")
    yield from (f"| `{name}` | {meaning} |" for name, meaning in meanings.items())
