"""The graph of operators, whether it was traced from a module or read from a file.

A graph is a `networkx.DiGraph` whose nodes 0, 1, … are operators in the order in which they run, with edges
from producer to consumer. A node's attributes are the fields of `Operator`; the graph's own are

    storages      tuple of Storage: the lives of all tensors apart from weights
    weight_bytes  bytes of all weights, whether an operator reads them or not
    coverage      fraction of the operators that are not free for which a formula is known
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import networkx as nx

Kind = Literal[
    "matmul",
    "convolution",
    "attention",
    "elementwise",
    "normalisation",
    "reduction",
    "movement",
    "scan",
    "other",
]
"""What an operator does, as far as its speed depends on it; "movement" copies, gathers and fills."""

Unknown = Literal["error", "skip"]
"""What happens to an operator without a formula: an error, or no operations and less coverage."""

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operator of a graph."""

    operator: str
    """Such as "aten.mm", or "MatMul" from a file."""
    kind: Kind
    shapes: list[Shape]
    """Of the outputs."""
    dtypes: list[str]
    """Of the outputs, such as "float32"."""
    input_shapes: list[Shape]
    dtype: str
    """What the arithmetic is done in, by `arithmetic_type`."""
    flops: float
    bytes_read: int
    bytes_written: int
    weight_bytes: int
    """The part of `bytes_read` that is weights."""
    launches: int
    """How many operators start when it runs: one; of a loop all those in its body, at every step."""
    free: bool
    """Nothing runs: a view, or computed once from weights before the network ever runs."""
    covered: bool
    """Whether a formula for it is known; without one it counts no operations."""


Call = TypeVar("Call")


@dataclass(frozen=True)
class Formula(Generic[Call]):
    """What an operator is, and how many operations a call of it takes."""

    kind: Kind
    flops: Callable[[Call], float]


@dataclass(frozen=True)
class Storage:
    """Memory of one or more tensors that are views of each other: alive in the steps `born` to `dies`.

    A step is the number of an operator. Inputs are born in step -1, outputs outlive the last step.
    """

    bytes: int
    born: int
    dies: int


def arithmetic_type(dtypes: Iterable[str]) -> str:
    """The type of the first tensor that is no mask; integers of 8 bits are "int8", signed or not."""
    first = next((dtype for dtype in dtypes if dtype != "bool"), "bool")
    return "int8" if first == "uint8" else first


def add_operator(graph: nx.DiGraph, operator: Operator) -> int:
    """Append the operator; its number."""
    step: int = graph.number_of_nodes()
    graph.add_node(step, **vars(operator))
    return step


@dataclass(frozen=True, kw_only=True)
class Share:
    """What all operators of one name take together."""

    operator: str
    kind: Kind
    count: int
    flops: float
    bytes: int
    """Read and written."""
    weight_bytes: int
    """The part of the bytes that is weights."""
    live_bytes: int
    """The largest sum of tensors alive while one of them runs, weights apart."""


def summarise(graph: nx.DiGraph) -> tuple[Share, ...]:
    """The operators that are not free, by name, those with the most operations first."""
    alive = alive_bytes(graph.graph["storages"], len(graph))
    groups: dict[tuple[str, Kind], list[tuple[int, dict[str, Any]]]] = {}
    for step, node in graph.nodes.data():
        if not node["free"]:
            groups.setdefault((node["operator"], node["kind"]), []).append((step, node))
    shares = [
        Share(
            operator=operator,
            kind=kind,
            count=len(members),
            flops=sum(node["flops"] for _, node in members),
            bytes=sum(node["bytes_read"] + node["bytes_written"] for _, node in members),
            weight_bytes=sum(node["weight_bytes"] for _, node in members),
            live_bytes=max(alive[step] for step, _ in members),
        )
        for (operator, kind), members in groups.items()
    ]
    return tuple(sorted(shares, key=lambda share: (-share.flops, -share.bytes, share.operator)))


def repeated(body: nx.DiGraph, steps: int) -> dict[str, Any]:
    """The fields of an Operator that runs a graph that often: the body times its steps."""
    nodes = [node for _, node in body.nodes.data()]
    dearest: dict[str, Any] = max(nodes, key=lambda node: float(node["flops"]), default={})
    sums = ("flops", "bytes_read", "bytes_written", "weight_bytes", "launches")
    return {
        "kind": "scan",
        **({"dtype": dearest["dtype"]} if dearest else {}),
        **{field: steps * sum(node[field] for node in nodes) for field in sums},
        "covered": body.graph["coverage"] == 1,
    }


def finish(graph: nx.DiGraph, storages: Iterable[Storage], weight_bytes: int) -> nx.DiGraph:
    """The graph with its own attributes, once all operators are in it."""
    running = [node["covered"] for _, node in graph.nodes.data() if not node["free"]]
    graph.graph["storages"] = tuple(storages)
    graph.graph["weight_bytes"] = weight_bytes
    graph.graph["coverage"] = sum(running) / len(running) if running else 1.0
    return graph


def peak_bytes(storages: Iterable[Storage]) -> int:
    """The largest sum of storages alive in one step."""
    return max(itertools.accumulate(change for _, change in _changes(storages)), default=0)


def alive_bytes(storages: Iterable[Storage], steps: int) -> list[int]:
    """The sum of storages alive in each of the steps from 0 on."""
    changes = Counter[int]()
    for step, change in _changes(storages):
        changes[max(step, 0)] += change
    return list(itertools.accumulate(changes[step] for step in range(steps)))


def _changes(storages: Iterable[Storage]) -> list[tuple[int, int]]:
    """By how many bytes the sum of storages alive changes with a step, in order."""
    changes = Counter[int]()
    for storage in storages:
        changes[storage.born] += storage.bytes
        changes[storage.dies + 1] -= storage.bytes
    return sorted(changes.items())
