"""Fusion: which operators of a graph run as one kernel, and what such a group still moves.

A runtime computes the elementwise operators that follow a matrix product, convolution, attention,
normalisation or reduction while its result is still in registers. Here a group is such an anchor and the
elementwise operators after it through which alone its result leaves: nothing but the last of them is seen
outside, and each has as many elements as the anchor's result. What passes inside a group moves no bytes.
Everything else stands alone.

Chen et al.: TVM: an automated end-to-end optimizing compiler for deep learning, OSDI 2018, section 3,
operator fusion: a "complex-out-fusable" operator with the elementwise ones at its output. The graph
optimisations of ONNX Runtime do the same by patterns (Conv + Add + Relu, MatMul + Add, ...).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hw_cost_models.graph import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import networkx as nx

_ANCHORS = frozenset[Kind](["matmul", "convolution", "attention", "normalisation", "reduction"])


class Work(NamedTuple):
    """Arithmetic of one kind, in one type."""

    kind: Kind
    dtype: str
    flops: float


@dataclass(frozen=True)
class Group:
    """Operators that run as one kernel."""

    nodes: tuple[int, ...]
    """In the order in which they run; the first is the anchor."""
    kind: Kind
    """The anchor's."""
    work: tuple[Work, ...]
    """The arithmetic of each node, which fusion does not change."""
    launches: int
    """How many kernels start: one; of a loop all those of its body, at every step."""
    weight_bytes: int
    """Read from weights."""
    tensor_bytes: int
    """Read from and written to other tensors, those inside the group not counted."""


def groups(graph: nx.DiGraph, *, fused: bool = True) -> list[Group]:
    """The groups of a graph in the order in which they start; every node that runs is in exactly one.

    Without fusion each operator is a group of its own. Views, and what neither computes nor moves anything
    (an allocation), are in none.
    """
    flow = _Flow(graph)
    taken: set[int] = set()
    found = []
    for node in flow.running:
        if node in taken:
            continue
        nodes = flow.following(node, taken) if fused and graph.nodes[node]["kind"] in _ANCHORS else [node]
        taken.update(nodes)
        found.append(_group(graph, flow, nodes))
    return found


class _Flow:
    """Who reads whose result, views looked through."""

    def __init__(self, graph: nx.DiGraph) -> None:
        self.graph = graph
        self.running = [node for node, operator in graph.nodes.data() if _runs(operator)]
        self.reads = {node: self._sources(node) for node in self.running}
        self.readers: dict[int, set[int]] = {node: set() for node in self.running}
        for node, sources in self.reads.items():
            for source in sources:
                self.readers[source].add(node)
        last = graph.number_of_nodes()
        self.outputs = {storage.born for storage in graph.graph["storages"] if storage.dies >= last}

    def _sources(self, node: int) -> Counter[int]:
        """The bytes that the node reads of the result of each other."""
        sources: Counter[int] = Counter()
        stack = [(source, source) for source in self.graph.predecessors(node)]
        while stack:
            source, seen_as = stack.pop()
            if _runs(self.graph.nodes[source]):
                sources[source] += _size(self.graph.nodes[seen_as])
            else:
                stack += [(before, seen_as) for before in self.graph.predecessors(source)]
        return sources

    def following(self, anchor: int, taken: set[int]) -> list[int]:
        """The anchor and the longest run of elementwise operators after it that only the last one leaves."""
        elements = _elements(self.graph.nodes[anchor])

        def fits(node: int) -> bool:
            operator = self.graph.nodes[node]
            return operator["kind"] == "elementwise" and _elements(operator) == elements and node not in taken

        inside, longest = [anchor], 1
        while True:
            # What is read outside, now or later, has to be the last.
            before = inside[:-1]
            if not all(node not in self.outputs and all(map(fits, self.readers[node])) for node in before):
                break
            if all(self.readers[node] <= set(inside) for node in before):
                longest = len(inside)
            following = {reader for node in inside for reader in self.readers[node]} - set(inside)
            fitting = [node for node in following if fits(node)]
            if not fitting:
                break
            inside.append(min(fitting))
        return inside[:longest]


def _group(graph: nx.DiGraph, flow: _Flow, nodes: list[int]) -> Group:
    operators = [graph.nodes[node] for node in nodes]
    weights = sum(operator["weight_bytes"] for operator in operators)
    moved = sum(operator["bytes_read"] for operator in operators) - weights + operators[-1]["bytes_written"]
    inside = sum(size for node in nodes for source, size in flow.reads[node].items() if source in nodes)
    return Group(
        nodes=tuple(nodes),
        kind=operators[0]["kind"],
        work=tuple(Work(o["kind"], o["dtype"], float(o["flops"])) for o in operators),
        launches=operators[0]["launches"],
        weight_bytes=weights,
        tensor_bytes=moved - inside,
    )


def _runs(operator: Mapping[str, Any]) -> bool:
    work = operator["flops"] or operator["bytes_read"] or operator["bytes_written"]
    return bool(work) and not operator["free"]


def _elements(operator: Mapping[str, Any]) -> int:
    """Of the first result."""
    return math.prod(operator["shapes"][0])


def _size(operator: Mapping[str, Any]) -> int:
    """Bytes of the first result, which is the one that others read."""
    bits = re.search(r"\d+", operator["dtypes"][0])  # "float32", "int4", "float8_e4m3fn"; "bool" has none
    return _elements(operator) * int(bits.group() if bits else 8) // 8
