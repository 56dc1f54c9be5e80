"""What operators read and write, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hw_cost_models.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable


class _Function(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def _bytes(function: Callable[..., Tensor], *inputs: Tensor) -> list[tuple[int, int, bool]]:
    graph = trace(_Function(function), inputs)
    return [(n["bytes_read"], n["bytes_written"], n["free"]) for _, n in graph.nodes.data()]


X = torch.rand(4, 6)
INDEX = torch.tensor([1, 3])


def test_views_copies_and_picked_rows() -> None:
    assert _bytes(lambda x: x.t(), X) == [(0, 0, True)]
    assert _bytes(lambda x: x + x, X) == [(96, 96, False)]
    assert _bytes(torch.add, X, torch.rand(4, 6)) == [(192, 96, False)]
    assert _bytes(F.embedding, INDEX, torch.rand(1000, 6)) == [(2 * 6 * 4 + 2 * 8, 2 * 6 * 4, False)]


def test_what_is_expanded_is_read_once() -> None:
    view, product = _bytes(lambda x, y: x[:1].expand(4, 6) * y, X, X)[1:]
    assert view == (0, 0, True)
    assert product == (96 + 96, 96, False), "the storage of x, and y, which is x"


def test_rows_written_into_a_table_leave_the_rest_alone() -> None:
    table, rows = torch.rand(1000, 6), torch.rand(2, 6)
    (written,) = _bytes(lambda t, r: t.index_copy_(0, INDEX, r), table, rows)
    assert written == (2 * 8 + 48, 48, False)
    (added,) = _bytes(lambda t, r: t.index_add_(0, INDEX, r), table, rows)
    assert added == (48 + 2 * 8 + 48, 48, False)
    (put,) = _bytes(lambda t, r: t.index_put_((INDEX,), r), table, rows)
    assert put == (2 * 8 + 48, 48, False)


def test_what_is_overwritten_is_not_read() -> None:
    (view, copy) = _bytes(lambda t, r: t[2:4].copy_(r), X, torch.rand(2, 6))
    assert view[2]
    assert copy == (48, 48, False)
    (zero,) = _bytes(lambda t: t.zero_(), X)
    assert zero == (0, 96, False)
    allocated, *_ = _bytes(lambda x: torch.empty_like(x).fill_(1.0), X)
    assert allocated[1] == 0
