"""Groups of small graphs, written out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import networkx as nx
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from hw_cost_models.fusion import groups
from hw_cost_models.graph import Kind, Storage, finish
from hw_cost_models.onnx_graph import read_onnx
from hw_cost_models.trace import trace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hw_cost_models.fusion import Group

KB = 1024
SHAPE = (16, 16)  # float32: one KB
LEADERS = ("matmul", "convolution", "attention", "normalisation", "reduction")


def graph(
    steps: Sequence[tuple[Kind | None, Sequence[int]]],
    outputs: Sequence[int] = (),
    shapes: dict[int, tuple[int, ...]] | None = None,
) -> nx.DiGraph:
    """Operators of a kind (None: a view) that read the results of those numbers, all of a KB.

    Products read a KB of weights too. What is among `outputs` leaves the network.
    """
    made, shapes = nx.DiGraph(), shapes or {}
    for number, (kind, sources) in enumerate(steps):
        product = kind in ("matmul", "convolution")
        size = 4 * torch.Size(shapes.get(number, SHAPE)).numel()
        made.add_node(
            number,
            operator=kind or "view",
            kind=kind or "movement",
            shapes=[shapes.get(number, SHAPE)],
            dtypes=["float32"],
            input_shapes=[SHAPE] * len(sources),
            dtype="float32",
            flops=1000.0 if product else 1.0,
            bytes_read=0 if kind is None else KB * (max(1, len(sources)) + product),
            bytes_written=0 if kind is None else size,
            weight_bytes=KB if product else 0,
            free=kind is None,
            launches=1,
            covered=True,
        )
        made.add_edges_from((source, number) for source in sources)
    last = len(steps)
    storages = [Storage(KB, number, last if number in outputs else number) for number in range(last)]
    return finish(made, storages, 0)


def nodes(found: list[Group]) -> list[tuple[int, ...]]:
    return [group.nodes for group in found]


def test_what_follows_a_product_joins_it() -> None:
    found = groups(graph([("matmul", []), ("elementwise", [0]), ("elementwise", [1]), ("matmul", [2])]))
    assert nodes(found) == [(0, 1, 2), (3,)]
    assert (found[0].weight_bytes, found[0].tensor_bytes) == (KB, 2 * KB)  # its input and its last result
    assert found[0].work == (
        ("matmul", "float32", 1000.0),
        ("elementwise", "float32", 1.0),
        ("elementwise", "float32", 1.0),
    )


def test_another_input_of_what_follows_is_read() -> None:
    (lead, alone) = groups(graph([("reduction", []), ("matmul", []), ("elementwise", [0, 1])]))
    assert (lead.nodes, alone.nodes) == ((0, 2), (1,))  # either could take it; the first does
    assert lead.tensor_bytes == KB + KB + KB


def test_a_result_that_others_need_ends_the_group() -> None:
    residual = [("matmul", []), ("normalisation", [0]), ("matmul", [1]), ("elementwise", [0, 2])]
    assert nodes(groups(graph(residual))) == [(0,), (1,), (2, 3)]


def test_a_diamond_stays_inside() -> None:
    """x sigmoid(x)"""
    found = groups(graph([("matmul", []), ("elementwise", [0]), ("elementwise", [0, 1]), ("matmul", [2])]))
    assert nodes(found) == [(0, 1, 2), (3,)]
    assert found[0].tensor_bytes == 2 * KB


def test_half_a_diamond_does_not() -> None:
    found = groups(graph([("matmul", []), ("elementwise", [0]), ("reduction", [0]), ("elementwise", [1, 2])]))
    assert nodes(found) == [(0,), (1,), (2, 3)]


def test_an_output_of_the_network_is_written() -> None:
    found = groups(graph([("matmul", []), ("elementwise", [0])], outputs=[0, 1]))
    assert nodes(found) == [(0,), (1,)]
    assert nodes(groups(graph([("matmul", []), ("elementwise", [0])], outputs=[1]))) == [(0, 1)]


def test_views_are_looked_through() -> None:
    found = groups(graph([("matmul", []), (None, [0]), ("elementwise", [1])]))
    assert nodes(found) == [(0, 2)]
    assert found[0].tensor_bytes == 2 * KB


def test_what_grows_or_shrinks_stands_alone() -> None:
    shapes = {1: (64, 16)}
    assert nodes(groups(graph([("reduction", []), ("elementwise", [0])], shapes=shapes))) == [(0,), (1,)]


def test_elementwise_operators_do_not_lead() -> None:
    assert nodes(groups(graph([("elementwise", []), ("elementwise", [0])]))) == [(0,), (1,)]


def test_without_fusion_everything_stands_alone() -> None:
    found = groups(graph([("matmul", []), (None, [0]), ("elementwise", [1])]), fused=False)
    assert nodes(found) == [(0,), (2,)]
    assert [group.tensor_bytes for group in found] == [2 * KB, 2 * KB]


@st.composite
def networks(draw: st.DrawFn) -> nx.DiGraph:
    """Any operators in any order, with whatever they may read and some of them leaving the network."""
    kinds = draw(st.lists(st.sampled_from([*get_args(Kind), None, "elementwise", "elementwise"]), min_size=3))
    near = (st.sets(st.integers(max(0, n - 3), n - 1), max_size=2) for n in range(1, len(kinds)))
    before = [set[int](), *(draw(sources) for sources in near)]
    outputs = draw(st.sets(st.integers(0, len(kinds) - 1), max_size=2))
    small = draw(st.sets(st.integers(0, len(kinds) - 1), max_size=2))
    steps = list(zip(kinds, map(sorted, before), strict=True))
    return graph(steps, sorted(outputs), dict.fromkeys(small, (8,)))


def _readers(network: nx.DiGraph, node: int) -> set[int]:
    """Who reads the result of a node, itself or a view of it: by every path, one by one."""
    found: set[int] = set()
    for reader in network.successors(node):
        found |= _readers(network, reader) if network.nodes[reader]["free"] else {reader}
    return found


@given(networks())
def test_of_any_network(network: nx.DiGraph) -> None:
    """Every operator runs once, nothing is seen of a group but its last result, and fusion only saves."""
    found = groups(network)
    running = [node for node, operator in network.nodes.data() if not operator["free"]]
    assert sorted(node for group in found for node in group.nodes) == running
    outputs = {storage.born for storage in network.graph["storages"] if storage.dies >= len(network)}
    for group in found:
        first, *others = group.nodes
        assert others == [] or network.nodes[first]["kind"] in LEADERS
        for node in others:
            assert network.nodes[node]["kind"] == "elementwise"
            assert network.nodes[node]["shapes"] == network.nodes[first]["shapes"]
        for node in group.nodes[:-1]:
            assert node not in outputs
            assert _readers(network, node) <= {*group.nodes}
    apart = groups(network, fused=False)
    assert all(group.tensor_bytes >= 0 for group in (*found, *apart))
    assert sum(group.tensor_bytes for group in found) <= sum(group.tensor_bytes for group in apart)


def test_a_file(tmp_path: Path) -> None:
    """relu(x w + b) in a file, then a softmax of a view of it."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((16, 32), np.float32), "b": rng.standard_normal(32, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Reshape", ["d", "shape"], ["e"]),
        helper.make_node("Softmax", ["e"], ["y"]),
    ]
    made = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4, 32])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()]
        + [numpy_helper.from_array(np.array([2, 4, 32]), "shape")],
    )
    path = tmp_path / "network.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]), path)
    network = read_onnx(path)
    product, softmax = groups(network)
    assert [network.nodes[node]["operator"] for node in product.nodes] == ["MatMul", "Add", "Relu"]
    assert [(work.kind, work.flops) for work in product.work] == [
        ("matmul", 2 * 8 * 16 * 32),
        ("elementwise", 8 * 32),
        ("elementwise", 8 * 32),
    ]
    assert product.weight_bytes == 4 * (16 * 32 + 32)
    assert product.tensor_bytes == 4 * (8 * 16 + 8 * 32)
    assert (softmax.kind, softmax.tensor_bytes) == ("normalisation", 4 * 2 * 8 * 32)


class Block(nn.Module):
    """A pre-normalised residual block with a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.gate, self.up, self.down = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        out: Tensor = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return out


@pytest.fixture(scope="module")
def block() -> nx.DiGraph:
    return trace(Block(), (torch.randn(8, 16),))


def test_a_traced_block(block: nx.DiGraph) -> None:
    found = groups(block)
    kinds = [[block.nodes[node]["kind"] for node in group.nodes] for group in found]
    product = ["matmul", "elementwise"]
    assert kinds == [["normalisation"], [*product, "elementwise"], ["matmul"], product]
    gate = found[1]  # reads y, the weights and the other branch, writes the product of the two
    assert gate.weight_bytes == (16 * 32 + 32) * 4
    assert gate.tensor_bytes == (8 * 16 + 8 * 32 + 8 * 32) * 4


def test_fusion_keeps_the_work_and_saves_bytes(block: nx.DiGraph) -> None:
    fused, apart = groups(block), groups(block, fused=False)
    assert sorted(node for group in fused for node in group.nodes) == [g.nodes[0] for g in apart]
    total = [sum(work.flops for g in found for work in g.work) for found in (fused, apart)]
    assert total[0] == total[1] == sum(flops for _, flops in block.nodes.data("flops"))
    saved = sum(g.tensor_bytes for g in apart) - sum(g.tensor_bytes for g in fused)
    # Written and read again: silu's operand and its result, and what the residual is added to.
    assert saved == 2 * 4 * (8 * 32 + 8 * 32 + 8 * 16)
