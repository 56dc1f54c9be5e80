"""The quality–latency plane: once for shared-weight scores, once for trained ones, never both on one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.report.contenders import CANDIDATE, RANDOM, ROLES, Role, contenders, in_words
from nas.report.markup import Html, missing, note, number, panel, panels, quantity, section
from nas.report.plot import Guide, Layout, Trace, label, plot

if TYPE_CHECKING:
    from nas.report.record import Json, RunRecord

LATENCY = "latency_ms"


@dataclass(frozen=True)
class Dot:
    role: Role
    latency_ms: float
    score: float
    told: str


def plane(run: RunRecord) -> Html:
    return section(
        "plane",
        "Quality and latency",
        note(
            "Lower is better on both axes. Scores with the supernet's shared weights compare architectures "
            "with each other; scores after training say what a network is worth. The two are different "
            "figures. The largest network of the space is a line, since it may be far outside the budget."
        ),
        panels(
            panel("Shared weights: scored in the supernet, untrained", shared_plane(run)),
            panel("Trained: each network on its own, the same way", trained_plane(run)),
        ),
    )


def shared_plane(run: RunRecord) -> Html:
    others = [(RANDOM, network) for network in run.part("baselines").get("random") or []]
    others += [(CANDIDATE, network) for network in run.rows("candidates")]
    found = [
        _dot(run, role, n.get("architecture") or {}, n.get("predicted") or {}, n.get("shared_loss"))
        for role, n in others
    ]
    found += [_dot(run, c.role, c.architecture, c.predicted, c.shared_loss) for c in contenders(run).values()]
    dots = [dot for dot in found if dot]
    if not dots:
        return missing("No architecture has been scored with shared weights yet.")
    return _draw(run, dots, "predicted latency, ms", "loss with shared weights, nats")


def trained_plane(run: RunRecord) -> Html:
    """Measured latencies where every trained network has one, else predicted ones: one axis, one meaning."""
    name, scores = trained_scores(run)
    trained = [c for key, c in contenders(run).items() if key in scores]
    measured = all(LATENCY in c.measured for c in trained)
    found = [
        _dot(run, c.role, c.architecture, c.measured if measured else c.predicted, scores[key])
        for key, c in contenders(run).items()
        if key in scores
    ]
    dots = [dot for dot in found if dot]
    if not dots:
        return missing("No network has been trained yet.")
    return _draw(run, dots, f"{'measured' if measured else 'predicted'} latency, ms", f"test score, {name}")


def trained_scores(run: RunRecord) -> tuple[str, dict[str, float]]:
    """The test scores and their unit: the task's own metric where every trained network has it, else nats."""
    everyone = contenders(run)
    trained = {key for key, c in everyone.items() if c.test_loss is not None or c.test_metric is not None}
    metrics = {key: c.test_metric for key, c in everyone.items() if c.test_metric is not None}
    if len(metrics) == len(trained):
        return label(run.part("task").get("metric", "task metric")), metrics
    return "nats", {key: c.test_loss for key, c in everyone.items() if c.test_loss is not None}


def _dot(run: RunRecord, role: Role, architecture: Json, cost: Json, score: float | None) -> Dot | None:
    latency = cost.get(LATENCY)
    if latency is None or score is None:
        return None
    return Dot(role, latency, score, in_words(run, architecture))


def _draw(run: RunRecord, dots: list[Dot], x: str, y: str) -> Html:
    limit = run.budget.get(LATENCY)
    largest = [dot for dot in dots if dot.role is ROLES["largest"]]
    others = [dot for dot in dots if dot.role is not ROLES["largest"]]
    reach = [dot.latency_ms for dot in others or largest] + ([] if limit is None else [limit])
    pad = 0.07 * (max(reach) - min(reach)) or 0.07 * max(reach)
    ends = [min(reach) - pad, max(reach) + pad]
    roles = dict.fromkeys([RANDOM, CANDIDATE, *reversed(ROLES.values())])
    traces = [_level(dot, ends) for dot in largest]
    traces += [_scatter(role, [dot for dot in others if dot.role is role]) for role in roles]
    traces = [trace for trace in traces if trace["x"]]
    # Drawn last and so on top, named first: the winner.
    more: Layout = {"xaxis": {"range": ends}, "legend": {"traceorder": "reversed", "y": 1.09}}
    if limit is not None:
        more |= Guide("x", limit, f"limit {quantity(LATENCY, limit)}").layout()
    return plot(traces, x, y, height=380, more=more)


def _scatter(role: Role, dots: list[Dot]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": role.name,
        "x": [dot.latency_ms for dot in dots],
        "y": [dot.score for dot in dots],
        "text": [label(dot.told) for dot in dots],
        "hovertemplate": "%{x:.3f} ms, %{y:.4f}<br>%{text}<extra>" + role.name + "</extra>",
        "marker": {"color": role.colour, "symbol": role.symbol, "size": role.size},
        "opacity": 0.7 if role is RANDOM else 1.0,
    }


def _level(dot: Dot, ends: list[float]) -> Trace:
    """A network's score as a line from end to end of the latency axis."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{dot.role.name}, at {number(dot.latency_ms)} ms",
        "x": ends,
        "y": [dot.score, dot.score],
        "text": [label(dot.told)] * 2,
        "hovertemplate": "%{y:.4f}<br>%{text}<extra>" + dot.role.name + "</extra>",
        "line": {"color": dot.role.colour, "width": 2, "dash": "dot"},
    }
