"""What bounds the rows, memory or arithmetic, and how near to that bound they come: in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from hwfit.report import numbers
from hwfit.report.language import Language
from hwfit.report.verdicts import percent, short_name
from hwfit.roofline import MARGIN

BOUNDS = ("memory", "compute", "cache")


def roofline_sentences(
    rows: pd.DataFrame, roofs: Iterable[Mapping[str, Any]], words: Language
) -> list[dict[str, str]]:
    """For each question and device: what the best row achieves, what bounds the rows, which lie above, and
    which have no limit to be held against.
    """
    roofed = {roof["device"] for roof in roofs}
    placed = rows[rows["drawn"] & rows["intensity"].notna() & rows["device"].isin(roofed)]
    return [
        {"question": question, "device": device, "name": device, "kind": kind, "text": sentence.unescape()}
        for (question, device), group in placed.groupby(["question", "device"], sort=False)
        for kind, sentence in said_of(group, words)
    ]


def said_of(group: pd.DataFrame, words: Language) -> Iterator[tuple[str, Markup]]:
    """The kind of each sentence and the sentence, for the rows of one question on one device."""
    judged = group[group["bound"].isin(BOUNDS) & group["utilization"].notna()]
    if len(judged):
        yield best_of(judged, words)
        yield from bounds_of(judged, words)
    above = judged[judged["utilization"] > MARGIN]
    for bound, kind in (("memory", "memory"), ("compute", "compute"), ("cache", "compute")):
        count = int((above["bound"] == bound).sum())
        if count:
            yield "above", words(f"roofline.above_{kind}", count=count)
    formats = [name for name in group.loc[~group.index.isin(judged.index), "number_format"] if name]
    if formats:
        listed = words.listing(sorted(set(formats)))
        yield "above", words("roofline.no_peak", count=len(formats), formats=listed)


def best_of(judged: pd.DataFrame, words: Language) -> tuple[str, Markup]:
    """The row that was picked, or else the one that achieves most, and what share of its limit that is."""
    picks = judged[judged["standing"] == "pick"]
    best = (picks if len(picks) else judged).sort_values("achieved_gflops").iloc[-1]
    return best["bound"], words(
        "roofline.best",
        # The device stands before the sentence.
        row=short_name(best).partition(" · ")[2],
        achieved=numbers.figure(best["achieved_gflops"]),
        share=percent(best["utilization"]),
        roof=words(f"roofline.{best['bound']}", format=best["number_format"]),
    )


def bounds_of(judged: pd.DataFrame, words: Language) -> Iterator[tuple[str, Markup]]:
    """Which rows each limit bounds, the batch sizes of them where it is not all."""
    for bound in BOUNDS:
        bounded = judged[judged["bound"] == bound]
        if len(bounded) == len(judged):
            yield bound, words(f"roofline.all_{bound}")
        elif len(bounded):
            sizes = [numbers.count(size) for size in sorted(set(bounded["batch_size"]))]
            yield (
                bound,
                words(
                    f"roofline.some_{bound}",
                    count=len(bounded),
                    all=len(judged),
                    sizes=words.listing(sizes),
                ),
            )
