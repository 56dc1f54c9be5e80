"""Branches and loops against the same written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hw_cost_models.errors import HardwareCostError, UnknownOperatorError
from hw_cost_models.graph import peak_bytes
from tests.hw_cost_models.onnx_texts import graph_of, running

if TYPE_CHECKING:
    from pathlib import Path

    import networkx as nx

_IF = """g (float[2,4] x, {condition}) => (float[2,4] y) <float[4,4] w, float[4] b> {{
    h = Exp(x)
    {choice}
    y = If (c) <
        then_branch = cheap () => (float[2,4] p) {{ p = Add(h, b) }},
        else_branch = dear () => (float[2,4] q) {{ r = MatMul(h, w) q = Add(r, h) }}
    >
}}"""


def _names(graph: nx.DiGraph) -> list[str]:
    return [node["operator"] for node in running(graph)]


def test_of_a_branch_that_data_decide_the_dearer_side(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, _IF.format(condition="bool c", choice=""))
    assert _names(graph) == ["Exp", "MatMul", "Add"]
    assert list(graph.edges) == [(0, 1), (0, 2), (1, 2)], "the branch is part of the graph around it"
    assert graph.graph["weight_bytes"] == 64 + 16, "the other side's weights are there, too"


def test_of_a_branch_that_is_known_the_one_that_is_taken(tmp_path: Path) -> None:
    choice = "n = Constant <value_int = 8000> () c = Equal(rate, n)"
    text = _IF.format(condition="int64 rate", choice=choice)
    taken = {rate: _names(graph_of(tmp_path, text, {"rate": rate})) for rate in (8000, 16000)}
    assert taken == {8000: ["Exp", "Equal", "Add"], 16000: ["Exp", "Equal", "MatMul", "Add"]}
    assert _names(graph_of(tmp_path, text)) == taken[16000]


def test_a_branch_that_does_not_take_the_shapes_is_not_the_one_that_runs(tmp_path: Path) -> None:
    text = """g (float[2,4] x, bool c) => (float[2,4] y) <float[5,4] w> {
        y = If (c) <
            then_branch = no () => (float[2,4] p) { p = MatMul(x, w) },
            else_branch = yes () => (float[2,4] q) { q = Relu(x) }
        >
    }"""
    assert _names(graph_of(tmp_path, text)) == ["Relu"]
    with pytest.raises(HardwareCostError, match=r"MatMul 'p' does not take"):
        graph_of(tmp_path, text.replace("Relu(x)", "MatMul(x, w)"))


_LOOP = """g (float[2,4] x, {inputs}) => (float[2,4] y, float[n,2,4] all)
<float[4,4] w, bool on = {{1}}, int64 n = {{{count}}}> {{
    h = Exp(x)
    y, all = Loop ({turns}, on, h) <body = turn (int64 i, bool go, float[2,4] state)
        => (bool go_on, float[2,4] next, float[2,4] kept) {{
        go_on = Identity(go)
        product = MatMul(state, w)
        next = Add(product, x)
        kept = Identity(next)
    }}>
}}"""


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 50))
def test_a_loop_is_its_body_as_often_as_it_runs(tmp_path: Path, count: int) -> None:
    graph = graph_of(tmp_path, _LOOP.format(inputs="bool unused", turns="n", count=count))
    _, loop = running(graph)
    assert (loop["operator"], loop["kind"], loop["dtype"]) == ("Loop", "scan", "float32")
    assert loop["flops"] == count * (2 * 2 * 4 * 4 + 8)
    assert loop["launches"] == 2 * count
    assert loop["bytes_written"] == count * 2 * 32
    assert loop["weight_bytes"] == count * 64
    assert loop["shapes"] == [(2, 4), (count, 2, 4)]
    assert (0, 1) in graph.edges
    assert graph.graph["weight_bytes"] == 64
    outside, inside = 32 + 32 + 32 + count * 32, 32 + 32 + 1
    assert peak_bytes(graph.graph["storages"]) == outside + inside, "two states and the condition in a turn"


def test_a_loop_that_data_end_is_given_its_turns(tmp_path: Path) -> None:
    text = _LOOP.format(inputs="int64 often", turns="often", count=1)
    with pytest.raises(HardwareCostError, match=r"model\.onnx: how often the loop 'y' runs .*\{\"y\": 10\}"):
        graph_of(tmp_path, text)
    assert running(graph_of(tmp_path, text, {"y": 7}))[1]["flops"] == 7 * 72
    assert running(graph_of(tmp_path, text, {"often": 7}))[1]["flops"] == 7 * 72
    endless = _LOOP.format(inputs="bool unused", turns="n", count=2**63 - 1)
    with pytest.raises(HardwareCostError, match="how often the loop 'y' runs depends on data"):
        graph_of(tmp_path, endless)


def test_a_state_that_grows_is_followed(tmp_path: Path) -> None:
    text = """g (float[1,4] x) => (float[m,4] y) <float[4,4] w, bool on = {1}, int64 n = {3}> {
        y = Loop (n, on, x) <body = turn (int64 i, bool go, float[k,4] state)
            => (bool go_on, float[l,4] next) {
            go_on = Identity(go)
            product = MatMul(state, w)
            next = Concat <axis = 0> (state, product)
        }>
    }"""
    (loop,) = running(graph_of(tmp_path, text))
    assert loop["shapes"] == [(8, 4)]
    assert loop["flops"] == (1 + 2 + 4) * 2 * 4 * 4


def test_a_scan_runs_along_its_axis(tmp_path: Path) -> None:
    text = """g (float[2,4] start, float[2,length,4] xs) => (float[2,4] last, float[2,4,length] ys)
    <float[4,4] w> {
        last, ys = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [-1], body = step
            (float[2,4] state, float[2,4] x) => (float[2,4] next, float[2,4] y) {
            product = MatMul(state, w)
            next = Add(product, x)
            y = Identity(next)
        }> (start, xs)
    }"""
    (scan,) = running(graph_of(tmp_path, text, {"length": 6}))
    assert (scan["kind"], scan["flops"]) == ("scan", 6 * (2 * 2 * 4 * 4 + 8))
    assert scan["shapes"] == [(2, 4), (2, 4, 6)]


def test_a_loop_in_a_branch_in_a_loop(tmp_path: Path) -> None:
    text = """g (float[2,4] x, bool c) => (float[2,4] y)
    <float[4,4] w, bool on = {1}, int64 n = {3}, int64 m = {5}> {
        y = Loop (n, on, x) <body = outer (int64 i, bool go, float[2,4] s) => (bool go_on, float[2,4] next) {
            go_on = Identity(go)
            next = If (c) <
                then_branch = one () => (float[2,4] p) { p = MatMul(s, w) },
                else_branch = many () => (float[2,4] q) {
                    q = Loop (m, go, s) <body = inner (int64 j, bool g1, float[2,4] t)
                        => (bool g2, float[2,4] u) {
                        g2 = Identity(g1)
                        u = MatMul(t, w)
                    }>
                }
            >
        }>
    }"""
    (loop,) = running(graph_of(tmp_path, text))
    assert loop["flops"] == 3 * 5 * 64


def test_another_operator_with_a_body(tmp_path: Path) -> None:
    text = """g (seq(float[2]) x) => (seq(float[2]) y) {
        y = SequenceMap (x) <body = twice (float[2] a) => (float[2] b) { b = Add(a, a) }>
    }"""
    with pytest.raises(HardwareCostError, match=r"the input 'x' is no tensor"):
        graph_of(tmp_path, text)
    inside = """g (float[2] x) => (seq(float[2]) y) {
        y = SequenceMap (x) <body = twice (float[2] a) => (float[2] b) { b = Add(a, a) }>
    }"""
    with pytest.raises(UnknownOperatorError, match=r"no formula for SequenceMap \('y'\), which runs a graph"):
        graph_of(tmp_path, inside)
