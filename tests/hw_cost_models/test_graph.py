"""The format that both kinds of graphs share: lifetimes, summaries, loops."""

from __future__ import annotations

from typing import Any

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from hw_cost_models.graph import (
    Operator,
    Storage,
    add_operator,
    alive_bytes,
    finish,
    peak_bytes,
    repeated,
    summarise,
)


def _operator(name: str, **fields: Any) -> Operator:
    plain: dict[str, Any] = {
        "operator": name,
        "kind": "elementwise",
        "shapes": [(2,)],
        "dtypes": ["float32"],
        "input_shapes": [(2,)],
        "dtype": "float32",
        "flops": 2.0,
        "bytes_read": 8,
        "bytes_written": 8,
        "weight_bytes": 0,
        "launches": 1,
        "free": False,
        "covered": True,
    }
    return Operator(**{**plain, **fields})


def _graph(*operators: Operator, storages: tuple[Storage, ...] = ()) -> nx.DiGraph:
    graph = nx.DiGraph()
    for operator in operators:
        add_operator(graph, operator)
    return finish(graph, storages, 0)


_storages = st.lists(
    st.tuples(st.integers(0, 9), st.integers(-1, 6), st.integers(0, 6)).map(
        lambda t: Storage(bytes=t[0], born=t[1], dies=t[1] + t[2])
    )
)


@given(storages=_storages)
def test_live_bytes_against_looking_at_every_step(storages: list[Storage]) -> None:
    alive = [sum(s.bytes for s in storages if s.born <= step <= s.dies) for step in range(-1, 14)]
    assert peak_bytes(storages) == max(alive)
    assert alive_bytes(storages, 14) == alive[1:]


def test_coverage_is_of_what_runs() -> None:
    graph = _graph(
        _operator("a"),
        _operator("b", covered=False, flops=0.0),
        _operator("view", free=True),
        _operator("c"),
        _operator("d"),
    )
    assert graph.graph["coverage"] == 3 / 4
    assert _graph().graph["coverage"] == 1


def test_summary_by_operator() -> None:
    graph = _graph(
        _operator("add"),
        _operator("product", kind="matmul", flops=100.0, weight_bytes=6),
        _operator("view", free=True),
        _operator("add", bytes_read=16),
        storages=(Storage(5, -1, 0), Storage(7, 1, 3)),
    )
    product, add = summarise(graph)
    assert (product.operator, product.kind, product.count, product.weight_bytes) == (
        "product",
        "matmul",
        1,
        6,
    )
    assert (add.count, add.flops, add.bytes, add.live_bytes) == (2, 4, 16 + 24, 7)
    assert product.live_bytes == 7
    assert sum(share.flops for share in summarise(graph)) == 104


def test_a_loop_is_its_body_times_its_steps() -> None:
    body = _graph(
        _operator("a", dtype="int8", flops=9.0), _operator("b", weight_bytes=3), _operator("c", free=True)
    )
    assert repeated(body, 5) == {
        "kind": "scan",
        "dtype": "int8",
        "flops": 5 * (9 + 2 + 2),
        "bytes_read": 5 * 24,
        "bytes_written": 5 * 24,
        "weight_bytes": 15,
        "launches": 15,
        "covered": True,
    }
    assert repeated(_graph(_operator("x", covered=False)), 2)["covered"] is False
