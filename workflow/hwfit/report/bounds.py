"""What bounds the rows, memory or arithmetic, and how near to that bound they come: in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from hwfit.report import numbers, roofline
from hwfit.report.language import Language
from hwfit.report.verdicts import percent, short_name


def roofline_sentences(
    rows: pd.DataFrame, roofs: Iterable[Mapping[str, Any]], plan: Mapping[str, Any], words: Language
) -> list[dict[str, str]]:
    """For each question and device: what the best row achieves, what bounds the rows, which lie above."""
    judged = roofline.judged(rows, roofs, plan)
    return [
        {"question": question, "device": device, "name": device, "kind": kind, "text": sentence.unescape()}
        for (question, device), group in judged.groupby(["question", "device"], sort=False)
        for kind, sentence in said_of(group, words)
    ]


def said_of(group: pd.DataFrame, words: Language) -> Iterator[tuple[str, Markup]]:
    """The kind of each sentence and the sentence, for the rows of one question on one device."""
    picks = group[group["standing"] == "pick"]
    best = (picks if len(picks) else group).sort_values("achieved_gflops").iloc[-1]
    yield (
        best["bound"],
        words(
            "roofline.best",
            # The device stands before the sentence.
            row=short_name(best).partition(" · ")[2],
            achieved=numbers.figure(best["achieved_gflops"]),
            share=percent(best["share"]),
            roof=words(f"roofline.{best['bound']}", format=best["roof_format"]),
        ),
    )
    memory = group[group["bound"] == "memory"]
    if len(memory) in (0, len(group)):
        kind = "memory" if len(memory) else "compute"
        yield kind, words(f"roofline.all_{kind}")
    else:
        sizes = [numbers.count(size) for size in sorted(set(memory["batch_size"]))]
        yield (
            "memory",
            words("roofline.bounds", count=len(memory), all=len(group), sizes=words.listing(sizes)),
        )
    above = group[group["share"] > roofline.MARGIN]
    is_narrower = above["format"] != above["roof_format"]
    if is_narrower.any():
        formats = words.listing(sorted(set(above.loc[is_narrower, "format"])))
        yield "above", words("roofline.narrower", count=int(is_narrower.sum()), formats=formats)
    for bound in ("memory", "compute"):
        count = int((~is_narrower & (above["bound"] == bound)).sum())
        if count:
            yield "above", words(f"roofline.above_{bound}", count=count)
