"""Scans, loops and branches against the same written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._C import DispatchKey
from torch._higher_order_ops import associative_scan, scan, while_loop
from torch._higher_order_ops.map import map as map_over
from torch._ops import HigherOrderOperator
from torch._subclasses.fake_tensor import FakeTensorMode

from hw_cost_models.errors import UnknownOperatorError
from hw_cost_models.trace import static_cost, trace

if TYPE_CHECKING:
    from collections.abc import Callable

SQUARE = torch.ones(4, 4)


class _Function(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class _Recurrence(nn.Module):
    """A linear state-space model: states (length, 4) from inputs (length, 4), by scan or written out."""

    def __init__(self, by_scan: bool) -> None:
        super().__init__()
        self.by_scan = by_scan
        self.transition = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.transition.weight

        def step(state: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.tanh(state @ weight + row)
            return state, state.clone()

        state = torch.zeros(1, 4)
        if self.by_scan:
            states: Tensor = scan(step, state, x[:, None])[1]
            return states
        rows = []
        for row in x:
            state, _ = step(state, row[None])
            rows.append(state)
        return torch.stack(rows)


@settings(max_examples=5, deadline=None)
@given(length=st.integers(1, 6))
def test_a_scan_costs_what_its_steps_cost(length: int) -> None:
    x = torch.ones(length, 4)
    graph = trace(_Recurrence(by_scan=True), (x,))
    (node,) = (n for _, n in graph.nodes.data() if n["kind"] == "scan")
    assert node["operator"] == "higher_order.scan"
    assert node["flops"] == length * (2 * 16 + 2 * 4)
    assert node["flops"] == static_cost(_Recurrence(by_scan=False), (x,)).flops
    assert node["weight_bytes"] == length * 64
    assert node["launches"] == length * 4, "product, sum, tangent, copy"
    assert graph.graph["coverage"] == 1


def test_a_parallel_scan_combines_one_time_less_than_it_has_slices() -> None:
    operator = torch.ops.higher_order.associative_scan
    x = torch.ones(8, 4)
    graph = trace(_Function(lambda x: operator(lambda a, b: (a * b,), [x], ())[0]), (x,))
    (node,) = (n for _, n in graph.nodes.data())
    assert (node["flops"], node["kind"]) == (7 * 4, "scan")
    taken_apart = _Function(lambda x: associative_scan(torch.mul, x, 0, combine_mode="generic"))
    assert 7 * 4 <= static_cost(taken_apart, (x,)).flops <= 2 * 7 * 4


def test_a_map_runs_once_for_each_slice() -> None:
    graph = trace(_Function(lambda x: map_over(lambda y: y @ y, x)), (torch.ones(3, 4, 4),))
    (node,) = (n for _, n in graph.nodes.data())
    assert node["flops"] == 3 * 2 * 4**3


def test_of_a_branch_the_dearer_side() -> None:
    def function(x: Tensor) -> Tensor:
        y: Tensor = torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x @ x, (x,))
        return y

    graph = trace(_Function(function), (SQUARE,))
    assert [n["operator"] for _, n in graph.nodes.data()] == ["aten.sum", "aten.gt", "aten.mm"]
    assert graph.graph["coverage"] == 1


def test_a_loop_that_ends_when_the_data_say_so_runs_on_them() -> None:
    def function(x: Tensor) -> Tensor:
        start = (torch.tensor(0), x)
        y: Tensor = while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x @ x), start)[1]
        return y

    graph = trace(_Function(function), (SQUARE,))
    assert [n["operator"] for _, n in graph.nodes.data()].count("aten.mm") == 3


def test_flexible_attention_is_attention() -> None:
    flex = pytest.importorskip("torch.nn.attention.flex_attention")
    q, kv = torch.ones(1, 2, 6, 8), torch.ones(1, 2, 10, 8)
    before = flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG
    graph = trace(_Function(lambda q, kv: flex.flex_attention(q, kv, kv)), (q, kv))
    (node,) = (n for _, n in graph.nodes.data() if n["kind"] == "attention")
    assert node["flops"] == 2 * 6 * 10 * (2 * 8 + 5 + 2 * 8)
    assert before == flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG


def test_another_operator_of_higher_order_is_an_error_or_less_coverage() -> None:
    class Twice(HigherOrderOperator):
        def __init__(self) -> None:
            super().__init__("twice")

        def __call__(self, x: Tensor) -> Tensor:
            return super().__call__(x)

    twice = Twice()
    twice.fallthrough(DispatchKey.AutogradCPU)
    twice.py_impl(FakeTensorMode)(lambda mode, x: 2 * x)
    module = _Function(twice)
    with pytest.raises(UnknownOperatorError, match=r"the higher-order operator twice: .*unknown="):
        trace(module, (SQUARE,))
    assert trace(module, (SQUARE,), unknown="skip").graph["coverage"] == 0
