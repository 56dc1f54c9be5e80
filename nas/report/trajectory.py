"""How the search went, phase by phase: losses, expected costs against their limits, dual variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.report.contenders import ROLES
from nas.report.markup import Html, escape, join, metric_name, missing, note, panel, panels, section
from nas.report.palette import BLUE, GREEN, GREY, ORANGE, PURPLE
from nas.report.plot import Guide, Trace, label, line, noisy, plot
from nas.report.series import points

if TYPE_CHECKING:
    from nas.report.record import Json, RunRecord

PHASES = {
    "supernet": "The supernet: weights only, architectures sampled fairly",
    "architecture": "The architecture parameters: weights frozen, validation data",
    "joint": "Weights and architecture parameters in alternation",
    "train": "Training from the inherited weights",
}

LOSSES = {
    "loss": ("total", BLUE),
    "task_loss": ("task", GREEN),
    "distillation_loss": ("distillation", ORANGE),
    "auxiliary_loss": ("auxiliary", PURPLE),
}

METRIC_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)


def trajectory(run: RunRecord) -> Html:
    phases: dict[str, list[Json]] = {}
    for entry in run.trajectory:
        phases.setdefault(str(entry.get("phase")), []).append(entry)
    if not phases:
        return section("trajectory", "Trajectory", missing("No step has been recorded yet."))
    return section(
        "trajectory",
        "Trajectory",
        note(
            "Faint: every step as it was. Bold: its running mean. Drag to zoom in, double-click to go back."
        ),
        *(_phase(run, name, lines) for name, lines in phases.items()),
    )


def _phase(run: RunRecord, name: str, lines: list[Json]) -> Html:
    shown = [panel(title, figure) for title, figure in _figures(run, name, lines) if figure]
    body = panels(*shown, width=320) if shown else missing("This phase recorded no figures.")
    return join([Html(f"<h3>{escape(PHASES.get(name, name))}</h3>"), body])


def _figures(run: RunRecord, name: str, lines: list[Json]) -> list[tuple[str, Html | None]]:
    if name == "train":
        return [("Training loss, nats", _training(lines))]
    return [
        ("Validation loss, nats" if name == "architecture" else "Loss, nats", _losses(lines)),
        ("Expected cost as a fraction of its limit", _expected(run, lines)),
        ("Dual variables", _duals(lines)),
    ]


def _losses(lines: list[Json]) -> Html | None:
    curves = {key: points(lines, key) for key in LOSSES}
    present = {key: curve for key, curve in curves.items() if curve}
    traces: list[Trace] = []
    for key, curve in present.items():
        traces += noisy(LOSSES[key][0], curve, LOSSES[key][1])
    return _lines(traces, "nats", legend=len(present) > 1)


def _training(lines: list[Json]) -> Html | None:
    traces: list[Trace] = []
    for key in dict.fromkeys(str(entry.get("network")) for entry in lines):
        own = [entry for entry in lines if str(entry.get("network")) == key]
        role = ROLES.get(key)
        curve = points(own, "loss")
        if curve:
            traces += noisy(role.name if role else key, curve, role.colour if role else GREY)
    return _lines(traces, "nats", legend=True)


def _expected(run: RunRecord, lines: list[Json]) -> Html | None:
    """Each cost over its own limit, so that one dashed line stands for all of them."""
    traces = []
    for (key, limit), colour in zip(run.budget.items(), METRIC_COLOURS, strict=False):
        curve = [(step, value / limit) for step, value in points(lines, key, "expected")] if limit else []
        if curve:
            traces.append(line(metric_name(key), curve, colour))
    if not traces:
        return None
    heights = [1.0, *(height for trace in traces for height in trace["y"])]
    pad = 0.08 * (max(heights) - min(heights)) or 0.1
    more = Guide("y", 1.0, "limit").layout() | {"showlegend": True}
    more["yaxis"] = {"range": [min(heights) - pad, max(heights) + pad]}
    return plot(traces, "step", "expected / limit", more=more)


def _duals(lines: list[Json]) -> Html | None:
    keys = dict.fromkeys(key for entry in lines for key in entry.get("duals") or {})
    traces = [
        line(metric_name(key), points(lines, key, "duals"), colour)
        for key, colour in zip(keys, METRIC_COLOURS, strict=False)
    ]
    return _lines(traces, label("multiplier"), legend=True)


def _lines(traces: list[Trace], y: str, legend: bool) -> Html | None:
    return plot(traces, "step", y, more={"showlegend": legend}) if traces else None
