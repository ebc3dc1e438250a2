"""The charts, as Vega-Lite; the browser gives each the rows of the model and the filters chosen.

Colours are CSS variables of `report.css`, so light, dark and print need no second drawing. Colour always
means the runtime and shape the optimization; the filter bar of the page is their legend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from hwfit.report import numbers
from hwfit.report.energy import energy_scopes, figure_of
from hwfit.report.language import Language
from hwfit.report.table import BASELINE, values_of

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK SC', sans-serif"
COLOURS = [f"var(--series-{i})" for i in range(1, 9)]
# Outlines in a box from -1 to 1, drawn the same by Vega and by the legend's SVG.
SHAPES = [
    "M-.95,0A.95,.95,0,1,1,.95,0A.95,.95,0,1,1,-.95,0Z",
    "M-.84,-.84H.84V.84H-.84Z",
    "M0,-1.05L1.02,.78H-1.02Z",
    "M0,-1.2L1.2,0L0,1.2L-1.2,0Z",
    "M-.36,-1.05H.36V-.36H1.05V.36H.36V1.05H-.36V.36H-1.05V-.36H-.36Z",
    "M0,1.05L1.02,-.78H-1.02Z",
    "M-.95,-.95L0,-.4L.95,-.95L.4,0L.95,.95L0,.4L-.95,.95L-.4,0Z",
    "M-.55,-1H.55L1.1,0L.55,1H-.55L-1.1,0Z",
]
TALL, LOW = 380, 270
# The charts of effects grow with their rows: an optimization and runtime each.
ROW_HEIGHT = 22
ROWS, ONE_ROW = alt.NamedData("rows"), alt.InlineData([{}])
# The corners of the devices' roofs, which the browser finds for the rows it shows.
ROOFS = alt.NamedData("roofs")
TIP = alt.ExprRef("datum.tip")
# Put into the finished specification: altair would copy a whole chart for each property that it is given.
LOOKS: dict[str, Any] = {
    "autosize": alt.AutoSizeParams(type="fit-x", contains="padding").to_dict(),
    "config": alt.Config(
        font=FONT,
        background="transparent",
        aria=False,
        padding=4,
        view=alt.ViewConfig(continuousHeight=300, continuousWidth=300, stroke=None),
        axis=alt.AxisConfig(
            domain=False,
            ticks=False,
            gridColor="var(--line)",
            labelColor="var(--muted)",
            labelFontSize=12,
            labelPadding=6,
            labelOverlap=True,
            titleColor="var(--muted)",
            titleFontSize=12,
            titleFontWeight="normal",
            titlePadding=10,
        ),
    ).to_dict(),
}
# A chart, and for the ticks of each of its axes the columns that `report.js` makes them from.
Drawn = tuple[alt.LayerChart, dict[str, Any]]
Grown = tuple[alt.LayerChart, dict[str, Any], int]


def marks(rows: pd.DataFrame) -> dict[str, dict[str, str]]:
    """The colour of each runtime and the shape of each optimization, baseline first."""
    runtimes = values_of(rows, "runtime")
    optimizations = sorted(values_of(rows, "optimization"), key=lambda name: name != BASELINE)
    return {
        "runtime": {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(sorted(runtimes))},
        "optimization": {name: SHAPES[i % len(SHAPES)] for i, name in enumerate(optimizations)},
    }


def build(rows: pd.DataFrame, words: Language) -> dict[str, dict[str, Any]]:
    """A Vega-Lite specification for each chart of the page."""
    draw = Drawing(rows, words)
    charts: dict[str, Drawn | Grown] = {
        "pareto": draw.pareto(),
        "throughput": draw.curve(
            "throughput_samples_per_s", "throughput_ci_low_samples_per_s", "throughput_ci_high_samples_per_s"
        ),
        "latency": draw.curve("latency_p50_ms", "latency_p50_ci_low_ms", "latency_p50_ci_high_ms"),
        "speedup": draw.speedup(),
        "lost": draw.lost(),
        "accuracy": draw.quality("accuracy"),
        "fidelity": draw.quality("fidelity"),
        "roofline": draw.roofline(),
        # A chart a scope, since nothing of one is to be set against another.
        **{
            figure_of(scope): draw.price(
                "throughput_samples_per_s", "energy_j_per_sample", "limit_max_energy_j_per_sample"
            )
            for scope in energy_scopes(rows)
        },
        "cost": draw.price("latency_p50_ms", "cost_per_million", "limit_max_cost_per_million"),
    }
    return {name: specification(*drawn) for name, drawn in charts.items()}


def specification(
    chart: alt.LayerChart, ticks: Mapping[str, Any], row_height: int | None = None
) -> dict[str, Any]:
    """A chart's specification with the looks all of them share, and what the browser sizes it by."""
    return (
        chart.to_dict()
        | LOOKS
        | {
            "params": [{"name": name, "value": []} for name in ticks],
            "usermeta": {"ticks": ticks, "row_height": row_height},
        }
    )


class Drawing:
    """The charts of one report: they share rows, scales and words."""

    def __init__(self, rows: pd.DataFrame, words: Language) -> None:
        self.words = words
        known = marks(rows)
        colours, shapes = known["runtime"], known["optimization"]
        self.colour = alt.Color("runtime:N", legend=None).scale(
            domain=list(colours), range=list(colours.values())
        )
        self.shape = alt.Shape("optimization:N", legend=None).scale(
            domain=list(shapes), range=list(shapes.values())
        )
        self.optimizations = list(shapes)

    def rows(self, height: Any, data: Any = ROWS) -> alt.Chart:
        return alt.Chart(data, width="container", height=height)

    def title(self, column: str) -> str:
        return str(self.words(f"columns.{column}"))

    def axis(self, axis: Any, column: str, title: str | None, label: str, **scale: Any) -> Any:
        """An axis whose ticks the browser chooses, because Vega's own on a short log axis are a thicket."""
        ticks = alt.ExprRef("x_ticks" if axis is alt.X else "y_ticks")
        shown = alt.Axis(values=ticks, labelExpr=label)
        return axis(f"{column}:Q", title=title, axis=shown).scale(nice=False, **scale)

    def log(self, axis: Any, column: str, title: str | None, **scale: Any) -> Any:
        return self.axis(axis, column, title, "format(datum.value, ',.3~r')", type="log", **scale)

    def points(self, base: alt.Chart) -> alt.LayerChart:
        """Rows as points: solid within the limits, hollow outside; a ring around the chosen one."""
        look: dict[str, Any] = {"tooltip": TIP, "size": 70, "strokeWidth": 1.6}
        inside = base.transform_filter("datum.standing != 'out'").mark_point(filled=True, opacity=0.9, **look)
        outside = base.transform_filter("datum.standing == 'out'").mark_point(
            filled=False, fill="var(--paper)", fillOpacity=0.01, opacity=0.55, **look
        )
        coloured = {"color": self.colour, "shape": self.shape}
        ring = base.transform_filter("datum.standing == 'pick'").mark_point(
            shape="circle",
            filled=False,
            size=320,
            stroke="var(--ink)",
            strokeWidth=1.8,
            opacity=1,
            tooltip=TIP,
        )
        said = {name: json.dumps(str(self.words(f"charts.{name}"))) for name in ("pick", "provisional")}
        label = (
            base.transform_filter("datum.standing == 'pick'")
            .transform_calculate(pick=f"datum.verdict == 'unproven' ? {said['provisional']} : {said['pick']}")
            .mark_text(dy=-19, fontSize=12, fontWeight=600, color="var(--ink)")
            .encode(text="pick:N")
        )
        return outside.encode(**coloured) + inside.encode(**coloured) + ring + label

    def limit(self, height: Any, column: str, axis: str) -> alt.Chart:
        """A dashed line at the limit of the question shown, which its rows carry; none where none does."""
        return (
            self.rows(height)
            .transform_filter(f"isValid(datum.{column})")
            .mark_rule(strokeDash=[4, 4], stroke="var(--limit)", strokeWidth=1.2)
            .encode(**{axis: f"max({column}):Q"})
        )

    def pareto(self) -> Drawn:
        """Latency against throughput; the front is made anew from what the filters leave."""
        x, y = "latency_p50_ms", "throughput_samples_per_s"
        base = self.rows(TALL).encode(
            x=self.log(alt.X, x, self.title(x), padding=24), y=self.log(alt.Y, y, self.title(y), padding=28)
        )
        front = (
            base.transform_filter("datum.standing != 'out'")
            .transform_window(
                best="max(throughput_samples_per_s)",
                sort=[
                    alt.SortField("latency_p50_ms"),
                    alt.SortField("throughput_samples_per_s", order="descending"),
                ],
                frame=[None, 0],
            )
            .transform_filter("datum.throughput_samples_per_s >= datum.best")
            .mark_line(interpolate="step-after", stroke="var(--muted)", strokeWidth=1.5, opacity=0.75)
            .encode(order="latency_p50_ms:Q")
        )
        x_limit, y_limit = f"limit_{x}", f"limit_min_{y}"
        layers = self.limit(TALL, x_limit, "x") + self.limit(TALL, y_limit, "y") + front + self.points(base)
        return layers, {"x_ticks": {"columns": [x, x_limit]}, "y_ticks": {"columns": [y, y_limit]}}

    def curve(self, column: str, low: str, high: str) -> Drawn:
        """A figure over the batch size, a line a cell, each point with its 95% interval."""
        base = self.rows(LOW).encode(
            x=self.log(alt.X, "batch_size", self.title("batch_size"), padding=16),
            y=self.log(alt.Y, column, None, padding=10),
            color=self.colour,
        )
        line = base.mark_line(strokeWidth=1.8, opacity=0.7).encode(
            detail=["device:N", "optimization:N", "scenario:N"]
        )
        interval = base.mark_rule(strokeWidth=5, opacity=0.25).encode(y=f"{low}:Q", y2=f"{high}:Q")
        point = base.mark_point(filled=True, opacity=0.95, size=55, tooltip=TIP).encode(shape=self.shape)
        ticks = {
            "x_ticks": {"columns": ["batch_size"], "each": True},
            "y_ticks": {"columns": [column, low, high]},
        }
        return line + interval + point, ticks

    def rows_of_optimizations(self) -> dict[str, Any]:
        """The shared vertical axis of the two charts of effects: a row an optimization and runtime."""
        order = [name for name in self.optimizations if name != BASELINE]
        return {
            "y": alt.Y("optimization:N", title=None, sort=order)
            .axis(labelColor="var(--ink)", labelLimit=130)
            .scale(paddingInner=0.35, paddingOuter=0.2),
            "yOffset": alt.YOffset("runtime:N"),
            "color": self.colour,
        }

    def effects(self) -> alt.Chart:
        size = alt.Size("batch_size:Q", legend=None).scale(type="log", range=[25, 170])
        return (
            self.rows(LOW)
            .transform_filter("isValid(datum.speedup)")
            .encode(size=size, shape=self.shape, **self.rows_of_optimizations())
        )

    def speedup(self) -> Grown:
        """Speed over that of the baseline of the same model, device, runtime and batch size."""
        label = f"format(datum.value, ',.3~r') + '{numbers.TIMES}'"
        base = self.effects()
        x = self.axis(alt.X, "speedup", str(self.words("charts.speedup.axis")), label, type="log", padding=14)
        one = self.rows(LOW, ONE_ROW).mark_rule(stroke="var(--muted)", strokeWidth=1.2).encode(x=alt.datum(1))
        interval = base.mark_rule(opacity=0.35).encode(
            x="speedup_low:Q", x2="speedup_high:Q", size=alt.value(2)
        )
        points = base.mark_point(filled=True, opacity=0.8, tooltip=TIP).encode(x=x)
        ticks = {"columns": ["speedup", "speedup_low", "speedup_high"], "include": [1]}
        return points + one + interval, {"x_ticks": ticks}, ROW_HEIGHT

    def lost(self) -> Grown:
        """What those speedups cost in accuracy, or in fidelity where nothing is labelled."""
        base = self.effects()
        title = str(self.words("charts.lost.axis"))
        x = self.axis(alt.X, "quality_lost", title, "format(datum.value, ',.2~f')", padding=14)
        points = base.mark_point(filled=True, opacity=0.8, tooltip=TIP).encode(x=x)
        limit = self.limit(LOW, "quality_limit", "x")
        ticks = {"columns": ["quality_lost", "quality_limit"], "include": [0], "linear": True}
        return points + limit, {"x_ticks": ticks}, ROW_HEIGHT

    def quality(self, column: str) -> Drawn:
        """Throughput against accuracy or fidelity, with its limit."""
        x = "throughput_samples_per_s"
        y = self.axis(alt.Y, column, None, "format(datum.value, '.4~p')", zero=False, padding=16)
        base = (
            self.rows(LOW)
            .transform_filter(f"isValid(datum.{column})")
            .encode(x=self.log(alt.X, x, self.title(x), padding=24), y=y)
        )
        limit = {"accuracy": "accuracy_limit", "fidelity": "limit_min_fidelity"}[column]
        ticks = {"columns": [column, limit], "linear": True}
        layers = self.points(base) + self.limit(LOW, limit, "y")
        return layers, {"x_ticks": {"columns": [x]}, "y_ticks": ticks}

    def price(self, x: str, column: str, limit: str) -> Drawn:
        """Energy or cost of the same work, against how fast it is done."""
        base = (
            self.rows(LOW)
            .transform_filter(f"datum.{column} > 0")
            .encode(
                x=self.log(alt.X, x, self.title(x), padding=24), y=self.log(alt.Y, column, None, padding=16)
            )
        )
        layers = self.points(base) + self.limit(LOW, limit, "y")
        return layers, {"x_ticks": {"columns": [x]}, "y_ticks": {"columns": [column, limit]}}

    def roofline(self) -> Drawn:
        """What each row achieves at its intensity, under the roofs that its device's peaks make."""
        x, y = "intensity", "achieved_gflops"
        axes = {
            "x": self.log(alt.X, x, str(self.words("charts.roofline.x"))),
            "y": self.log(alt.Y, y, str(self.words("charts.roofline.y")), padding=20),
        }
        roofs = alt.Chart(ROOFS, width="container", height=TALL).encode(**axes)
        lines = roofs.mark_line(stroke="var(--muted)", strokeWidth=1.5, strokeJoin="round").encode(
            detail="roof:N", order="intensity:Q"
        )
        name: dict[str, Any] = {"fontSize": 12, "color": "var(--muted)"}
        flat = roofs.transform_filter("isValid(datum.flat)").mark_text(align="right", dy=-8, **name)
        slope = roofs.transform_filter("isValid(datum.slope)").mark_text(align="left", dx=6, dy=14, **name)
        layers = lines + flat.encode(text="flat:N") + slope.encode(text="slope:N")
        return layers + self.points(self.rows(TALL).encode(**axes)), {
            "x_ticks": {"columns": [x]},
            "y_ticks": {"columns": [y]},
        }
