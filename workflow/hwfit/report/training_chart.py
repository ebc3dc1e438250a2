"""The chart of training: validation accuracy over the time trained, a line a configuration."""

from __future__ import annotations

from typing import Any

import altair as alt

from hwfit.report.charts import COLOURS, specification
from hwfit.report.language import Language

HEIGHT = 320
POINTS, TARGET = alt.NamedData("points"), alt.NamedData("target")


def training_chart(optimizers: list[str], words: Language) -> dict[str, Any]:
    """The Vega-Lite specification; the browser gives it a panel's points and target."""
    colour = alt.Color("optimizer:N", title=None).scale(
        domain=optimizers, range=[COLOURS[i % len(COLOURS)] for i in range(len(optimizers))]
    )
    legend = alt.Legend(orient="bottom", labelColor="var(--ink)", symbolType="stroke", symbolStrokeWidth=3)
    base = alt.Chart(POINTS, width="container", height=HEIGHT).encode(
        x=alt.X("seconds:Q", title=str(words("training.seconds"))).scale(type="log", nice=False),
        y=alt.Y("accuracy:Q", title=str(words("training.accuracy")), axis=alt.Axis(format=".0%")).scale(
            zero=False
        ),
        color=colour.legend(legend),
        detail="run:N",
    )
    tip = [
        alt.Tooltip("run:N", title=str(words("training.run"))),
        alt.Tooltip("seconds:Q", title=str(words("training.seconds")), format=",.3~r"),
        alt.Tooltip("accuracy:Q", title=str(words("training.accuracy")), format=".1%"),
    ]
    lines = base.mark_line(opacity=0.65).encode(
        strokeWidth=alt.condition("datum.is_chosen", alt.value(3.5), alt.value(1.4))
    )
    points = base.mark_point(filled=True, size=22, opacity=0.8).encode(tooltip=tip)
    rule = (
        alt.Chart(TARGET)
        .mark_rule(strokeDash=[4, 4], stroke="var(--limit)", strokeWidth=1.2)
        .encode(y="target:Q")
    )
    return specification(lines + points + rule, {})
