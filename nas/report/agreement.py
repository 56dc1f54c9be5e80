"""Predicted against measured latency: what the cost table's word is worth."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

from nas.report.contenders import CANDIDATE, RANDOM, ROLES, Role, contenders
from nas.report.markup import Html, missing, note, panel, panels, percent, section
from nas.report.palette import GREY
from nas.report.plane import LATENCY
from nas.report.plot import Trace, plot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nas.report.record import RunRecord

BAND = 0.05
"""The error that a prediction may have before the page stops calling it good."""

CALIBRATION = Role("calibration network", RANDOM.colour, RANDOM.symbol, 9)

Pair = tuple[float, float]
"""Predicted and measured, in ms."""


def agreement(run: RunRecord) -> Html:
    groups = {role: pairs for role, pairs in _groups(run).items() if pairs}
    if not groups:
        told = "No network has been both predicted and measured, so the two cannot be compared."
        return section("agreement", "Predicted and measured", missing(told))
    return section(
        "agreement",
        "Predicted and measured",
        note(*(_error(role, pairs) + " " for role, pairs in groups.items()), "The band is ±5 %."),
        panels(
            panel("Measured against predicted latency, ms", _diagonal(groups)),
            panel("How far the measurement is from the prediction", _relative(groups)),
        ),
    )


def _groups(run: RunRecord) -> dict[Role, list[Pair]]:
    calibration = [
        (n.get("predicted_ms"), n.get("measured_ms")) for n in run.part("calibration").get("networks") or []
    ]
    candidates = [
        ((c.get("predicted") or {}).get(LATENCY), (c.get("measured") or {}).get(LATENCY))
        for c in run.rows("candidates")
    ]
    winner = [
        (c.predicted.get(LATENCY), c.measured.get(LATENCY))
        for c in contenders(run).values()
        if c.role is ROLES["winner"]
    ]
    found = {CALIBRATION: calibration, CANDIDATE: candidates, ROLES["winner"]: winner}
    return {role: _complete(pairs) for role, pairs in found.items()}


def _complete(pairs: Iterable[tuple[float | None, float | None]]) -> list[Pair]:
    return [(predicted, measured) for predicted, measured in pairs if predicted and measured]


def _error(role: Role, pairs: list[Pair]) -> str:
    errors = [abs(measured / predicted - 1) for predicted, measured in pairs]
    if len(pairs) == 1:
        return f"The {role.name} is off by {percent(errors[0])}."
    average, worst = percent(mean(errors)), percent(max(errors))
    return f"The {len(pairs)} {role.name}s are off by {average} on average, {worst} at most."


def _reach(groups: dict[Role, list[Pair]]) -> tuple[float, float]:
    figures = [predicted for pairs in groups.values() for predicted, _ in pairs]
    figures += [measured for pairs in groups.values() for _, measured in pairs]
    pad = 0.06 * (max(figures) - min(figures)) or 0.06 * max(figures)
    return max(0.0, min(figures) - pad), max(figures) + pad


def _diagonal(groups: dict[Role, list[Pair]]) -> Html:
    low, high = _reach(groups)
    band = _band([low, high, high, low], [f * (1 + e) for f, e in _corners(low, high)])
    diagonal: Trace = {
        "type": "scatter",
        "mode": "lines",
        "x": [low, high],
        "y": [low, high],
        "line": {"color": GREY, "width": 1.5, "dash": "dash"},
        "showlegend": False,
        "hoverinfo": "skip",
    }
    dots = [_dots(role, [(p, m) for p, m in pairs], ":.3f") for role, pairs in groups.items()]
    return plot([band, diagonal, *dots], "predicted, ms", "measured, ms", height=360)


def _corners(low: float, high: float) -> list[tuple[float, float]]:
    return [(low, BAND), (high, BAND), (high, -BAND), (low, -BAND)]


def _relative(groups: dict[Role, list[Pair]]) -> Html:
    low, high = _reach(groups)
    band = _band([low, high, high, low], [BAND, BAND, -BAND, -BAND])
    dots = [_dots(role, [(p, m / p - 1) for p, m in pairs], ":+.1%") for role, pairs in groups.items()]
    more = {"yaxis": {"tickformat": ".0%", "zeroline": True, "zerolinecolor": GREY, "zerolinewidth": 1}}
    return plot([band, *dots], "predicted, ms", "measured ÷ predicted − 1", height=360, more=more)


def _band(xs: list[float], ys: list[float]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": xs,
        "y": ys,
        "fill": "toself",
        "fillcolor": "rgba(144,151,163,0.16)",
        "line": {"width": 0},
        "name": "±5 %",
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _dots(role: Role, pairs: list[Pair], form: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": role.name,
        "x": [x for x, _ in pairs],
        "y": [y for _, y in pairs],
        "hovertemplate": "%{x:.3f} ms, %{y" + form + "}<extra>" + role.name + "</extra>",
        "marker": {"color": role.colour, "symbol": role.symbol, "size": role.size},
    }
