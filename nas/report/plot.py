"""A plotly figure inside the page: checked here, drawn by the one script at the end of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nas.report.markup import Html, escape
from nas.report.palette import GREY
from nas.report.series import Points, running_mean, thin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Trace = dict[str, Any]
Layout = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"

DRAW = """
for (const holder of document.querySelectorAll("script.figure")) {
  const { data, layout } = JSON.parse(holder.textContent);
  Plotly.newPlot(holder.previousElementSibling, data, layout, { responsive: true, displayModeBar: false });
}
"""


def library() -> str:
    """The source of plotly.js."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def plot(traces: Sequence[Trace], x: str, y: str, *, height: int = 300, more: Layout | None = None) -> Html:
    """One figure; an empty title takes no room; `more` adds to or replaces parts of plotly's layout.

    Names, titles and hover texts go through plotly's own small HTML, so what comes from a run is escaped
    first (`label`). ValueError when plotly does not know an attribute.
    """
    import plotly.graph_objects as go

    axis = {"gridcolor": "#d9dde3", "zeroline": False, "ticks": ""}
    figure = go.Figure(
        data=list(traces),
        layout={
            "template": go.layout.Template(),  # plotly's default template weighs 7 kB a figure
            "height": height,
            "margin": {"l": 58 if y else 28, "r": 12, "t": 8, "b": 44 if x else 24},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 12},
            "hoverlabel": {"font": {"family": FONT}},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "xaxis": axis | ({"title": {"text": x}} if x else {}),
            "yaxis": axis | ({"title": {"text": y}} if y else {}),
        },
    )
    figure.update_layout(more or {})
    # A script element ends at the first `</`, whatever its type; JSON lets every `<` be written otherwise.
    data = str(figure.to_json()).replace("<", "\\u003c")
    return Html(
        f'<div class="plot" style="min-height:{height}px"></div>'
        f'<script type="application/json" class="figure">{data}</script>'
    )


def label(text: object) -> str:
    """Text from a run as plotly may show it."""
    return str(escape(text))


def line(name: str, curve: Points, colour: str, width: float = 2) -> Trace:
    """A curve, thinned."""
    shown = thin(curve)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(name),
        "x": [x for x, _ in shown],
        "y": [y for _, y in shown],
        "line": {"color": colour, "width": width},
    }


def noisy(name: str, curve: Points, colour: str) -> list[Trace]:
    """A curve twice: as it was, faint, and its running mean."""
    raw = line(name, curve, colour, width=1) | {
        "opacity": 0.25,
        "showlegend": False,
        "hoverinfo": "skip",
        "legendgroup": label(name),
    }
    return [raw, line(name, running_mean(curve), colour) | {"legendgroup": label(name)}]


def bands(steps: Sequence[float], heights: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> Html:
    """Fractions of one over time, by name, stacked; a name that has no colour is grey."""
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "stackgroup": "bands",
            "name": label(name),
            "x": list(steps),
            "y": list(values),
            "line": {"color": colours.get(name, GREY), "width": 0.5},
            "fillcolor": colours.get(name, GREY),
            "hovertemplate": "step %{x}: %{y:.2f}<extra>" + label(name) + "</extra>",
        }
        for name, values in heights.items()
    ]
    more = {"showlegend": False, "yaxis": {"range": [0, 1], "tickvals": [0, 0.5, 1]}}
    return plot(traces, "", "", height=150, more=more)


@dataclass(frozen=True)
class Guide:
    """A dashed line at `value` of the `x` or the `y` axis, named at its end."""

    axis: Literal["x", "y"]
    value: float
    text: str

    def layout(self) -> Layout:
        across = "y" if self.axis == "x" else "x"
        shape = {
            "type": "line",
            f"{self.axis}0": self.value,
            f"{self.axis}1": self.value,
            f"{across}0": 0,
            f"{across}1": 1,
            f"{across}ref": "paper",
            "line": {"color": GREY, "width": 1.5, "dash": "dash"},
        }
        anchors = {"xanchor": "right", "yanchor": "bottom"}
        place = {self.axis: self.value, across: 1, f"{across}ref": "paper"}
        return {
            "shapes": [shape],
            "annotations": [place | anchors | {"text": label(self.text), "showarrow": False}],
        }
