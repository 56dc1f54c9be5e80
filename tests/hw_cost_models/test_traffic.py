"""Where bytes lie, against the rule applied by hand."""

from __future__ import annotations

import networkx as nx
import pytest

from hw_cost_models.fusion import groups
from hw_cost_models.graph import Storage, finish
from hw_cost_models.traffic import Traffic, traffic

MB = 1_000_000


def _network() -> nx.DiGraph:
    """A product of 4 MB of weights that makes 3 MB from 1 MB, and a reduction of these to 1 MB."""
    graph = nx.DiGraph()
    shared = {"dtypes": ["float32"], "dtype": "float32", "flops": 1.0, "free": False}
    shared |= {"launches": 1, "covered": True}
    product = {"kind": "matmul", "bytes_read": 5 * MB, "bytes_written": 3 * MB, "weight_bytes": 4 * MB}
    reduction = {"kind": "reduction", "bytes_read": 3 * MB, "bytes_written": MB, "weight_bytes": 0}
    for step, (what, size) in enumerate([(product, 3 * MB), (reduction, MB)]):
        graph.add_node(step, operator="", shapes=[(size // 4,)], input_shapes=[], **shared, **what)
    graph.add_edge(0, 1)
    # The input is no longer needed once the product is made.
    return finish(graph, [Storage(MB, -1, 0), Storage(3 * MB, 0, 1), Storage(MB, 1, 2)], 4 * MB)


@pytest.mark.parametrize(
    ("cache_mb", "product", "reduction"),
    [
        (None, (8, 0), (4, 0)),
        (3.9, (8, 0), (4, 0)),  # 4 MB are alive in both steps
        (4.0, (4, 4), (0, 4)),  # the weights are read again each time
        (7.9, (4, 4), (0, 4)),
        (8.0, (0, 8), (0, 4)),  # all of it fits
    ],
)
def test_by_the_size_of_the_cache(
    cache_mb: float | None, product: tuple[int, int], reduction: tuple[int, int]
) -> None:
    graph = _network()
    expected = [Traffic(memory * MB, cache * MB) for memory, cache in (product, reduction)]
    assert traffic(graph, groups(graph), cache_mb) == expected
    assert [part.bytes for part in expected] == [8 * MB, 4 * MB]
