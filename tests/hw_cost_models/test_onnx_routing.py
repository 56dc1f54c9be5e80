"""Rows that a router sends to its experts, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hw_cost_models.onnx_texts import graph_of, running

if TYPE_CHECKING:
    from pathlib import Path

_ROUTERS = {
    "top k": "v, i = TopK(s, k) e = Equal(i, one) m = Cast <to = 9> (e)",
    "largest": "i = ArgMax <axis = 1> (s) m = Equal(i, one)",
    "one hot": """v, i = TopK(s, k) o = OneHot(i, four, pair)
        t = Transpose <perm = [2, 1, 0]> (o) m = Gather(t, first)""",
}


@pytest.mark.parametrize(
    ("router", "rows"), [("top k", 12 * 2 / 4), ("largest", 12 / 4), ("one hot", 12 * 2 / 4)]
)
def test_a_balanced_load(tmp_path: Path, router: str, rows: float) -> None:
    text = f"""g (float[12,8] x) => (y)
    <float[8,4] r, float[8,8] w, int64[1] k = {{2}}, int64 one = {{1}}, int64 first = {{1}},
     int64 four = {{4}}, float[2] pair = {{0.0, 1.0}}, int64[1] zero = {{0}}, int64[1] end = {{1}}> {{
        s = MatMul(x, r)
        {_ROUTERS[router]}
        n = NonZero(m)
        found = Slice(n, zero, end, zero)
        index = Squeeze(found, zero)
        rows = Gather(x, index)
        y = MatMul(rows, w)
    }}"""
    *_, product = running(graph_of(tmp_path, text))
    assert product["flops"] == 2 * rows * 8 * 8
    *_, product = running(graph_of(tmp_path, text, {"NonZero": 7}))
    assert product["flops"] == 2 * 7 * 8 * 8
