"""The winner as a graph: one column a layer, data flowing down each column and on to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.report.markup import Html, escape, missing, note, number, percent, section
from nas.report.palette import GREY, SKIP
from nas.report.record import layer_of

if TYPE_CHECKING:
    import networkx as nx

    from nas.report.record import Json, RunRecord

Point = tuple[float, float]

NARROWEST, WIDEST, HEIGHT = 140, 216, 64
ACROSS, DOWN = 30, 24
"""Gaps between boxes."""
TOP = 34
LETTER = 8.3
"""Width of a letter of an option's name, in a wide system font."""


@dataclass(frozen=True)
class Node:
    column: str
    title: str
    option: str
    latency_ms: float | None
    path: str


def winner(run: RunRecord, colours: dict[str, str]) -> Html:
    if not run.architecture:
        return section("winner", "The winner", missing("No architecture has been chosen yet."))
    nodes = [_node(run, path) for path in run.ordered(list(run.architecture))]
    fixed = _latency(run.cost_table.get("fixed"))
    known = [node.latency_ms for node in nodes if node.latency_ms is not None]
    total = sum(known) + (fixed or 0.0)
    return section(
        "winner",
        "The winner",
        note(_reading(fixed, total)),
        Html(f'<div class="scroll">{draw(flow(nodes), nodes, total, colours)}</div>'),
    )


def _node(run: RunRecord, path: str) -> Node:
    option = run.architecture[path]
    column = layer_of(path)
    latency = _latency(run.choices.get(path, {}).get(option))
    return Node(column, path.removeprefix(column).lstrip(".") or path, option, latency, path)


def _latency(cost: Json | None) -> float | None:
    return (cost or {}).get("latency_ms")


def _reading(fixed: float | None, total: float) -> str:
    told = "Each box is a choice and the option taken, with its share of the predicted latency."
    if fixed and total:
        told += f" What holds no choice takes the remaining {percent(fixed / total)}, {number(fixed)} ms."
    return told


def flow(nodes: list[Node]) -> nx.DiGraph[int]:
    """The winner as data flows through it: a chain of node numbers."""
    import networkx as nx

    return nx.path_graph(len(nodes), create_using=nx.DiGraph)


def place(graph: nx.DiGraph[int], columns: list[str], width: float) -> dict[int, Point]:
    """Centres in pixels of boxes of this width: networkx's multipartite layout, one part a column.

    That layout is a grid of equal steps, centred and scaled to fit 1; here it is stretched to the boxes and
    hung from the top.
    """
    import networkx as nx

    parts: dict[str, list[int]] = {}
    for node in graph:
        parts.setdefault(columns[node], []).append(node)
    unit = nx.multipartite_layout(graph, subset_key=dict(enumerate(parts.values())))
    first, *others = parts.values()
    neighbour = (others or [first[1:] or first])[0][0]
    axis = 0 if others else 1
    step = abs(float(unit[neighbour][axis] - unit[first[0]][axis])) or 1.0
    centres = {}
    for part in parts.values():
        for node in part:
            x = float(unit[node][0] - unit[first[0]][0]) / step * (width + ACROSS)
            y = float(unit[node][1] - unit[part[0]][1]) / step * (HEIGHT + DOWN)
            centres[node] = (1 + width / 2 + x, TOP + HEIGHT / 2 + y)
    return centres


def draw(graph: nx.DiGraph[int], nodes: list[Node], total: float, colours: dict[str, str]) -> Html:
    longest = max(len(node.option) for node in nodes)
    width = min(WIDEST, max(NARROWEST, 24 + LETTER * longest))
    centres = place(graph, [node.column for node in nodes], width)
    heads = {nodes[number].column: centres[number][0] for number in reversed(list(graph))}
    titles = "".join(
        f'<text class="layer" x="{x - width / 2:.1f}" y="18">{escape(_short(name, width, last=True))}</text>'
        for name, x in heads.items()
    )
    arrows = "".join(_arrow(centres[a], centres[b], width) for a, b in graph.edges)
    boxes = "".join(_box(node, centres[i], width, total, colours) for i, node in enumerate(nodes))
    across = max(x for x, _ in centres.values()) + width / 2 + 1
    down = max(y for _, y in centres.values()) + HEIGHT / 2 + 1
    return Html(
        f'<svg class="graph" role="img" aria-label="The winner, layer by layer" width="{across:.0f}" '
        f'height="{down:.0f}" viewBox="0 0 {across:.0f} {down:.0f}">'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>{titles}{arrows}{boxes}</svg>'
    )


def _arrow(start: Point, end: Point, width: float) -> str:
    """Down inside a column; from one column to the next out of the right side and into the left."""
    (x0, y0), (x1, y1) = start, end
    if x0 == x1:
        way = f"M{x0:.1f} {y0 + HEIGHT / 2:.1f}V{y1 - HEIGHT / 2 - 1:.1f}"
    else:
        left, right = x0 + width / 2, x1 - width / 2 - 1
        way = f"M{left:.1f} {y0:.1f}C{right:.1f} {y0:.1f} {left:.1f} {y1:.1f} {right:.1f} {y1:.1f}"
    return f'<path class="flow" d="{way}" marker-end="url(#head)"/>'


def _box(node: Node, centre: Point, width: float, total: float, colours: dict[str, str]) -> str:
    x, y = centre[0] - width / 2, centre[1] - HEIGHT / 2
    colour = colours.get(node.option, GREY)
    share = (node.latency_ms or 0.0) / total if total else 0.0
    cost = "" if node.latency_ms is None else f"{percent(share)} · {number(node.latency_ms)} ms"
    title, option = _short(node.title, width), _short(node.option, width)
    lines = (("choice", 17, title), ("option", 35, option), ("cost", 51, cost))  # the cost is small print
    texts = "".join(
        f'<text class="{style}" x="{x + 14:.1f}" y="{y + below:.1f}">{escape(text)}</text>'
        for style, below, text in lines
    )
    bar = (width - 24) * share
    return (
        f'<g class="box{" skip" if node.option == SKIP else ""}">'
        f"<title>{escape(node.path)}: {escape(node.option)}</title>"
        f'<rect class="card" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{HEIGHT}" rx="8"/>'
        f'<rect x="{x + 5:.1f}" y="{y + 8:.1f}" width="4" height="{HEIGHT - 16}" rx="2" fill="{colour}"/>'
        f'<rect x="{x + 14:.1f}" y="{y + 56:.1f}" width="{bar:.1f}" height="3" rx="1.5" fill="{colour}"/>'
        f"{texts}</g>"
    )


def _short(text: str, width: float, *, last: bool = False) -> str:
    """What there is room for: its beginning, or its end."""
    longest = int((width - 20) / LETTER)
    if len(text) <= longest:
        return text
    return "…" + text[1 - longest :] if last else text[: longest - 1] + "…"
