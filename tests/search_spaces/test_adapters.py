"""Modules of PyTorch and of other libraries as options, against a call by hand."""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from hw_cost_models import export_onnx, structure_key
from search_spaces import Architecture, Choice, ModuleAdapter, SearchSpace, SearchSpaceError, select
from search_spaces.trial import try_space

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 8
X = torch.linspace(-1, 1, 2 * 5 * WIDTH).reshape(2, 5, WIDTH)


def _options() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
    return {
        "linear": nn.Linear(WIDTH, WIDTH),
        "lstm": ModuleAdapter(nn.LSTM(WIDTH, WIDTH, batch_first=True), output=0),
        "attention": ModuleAdapter(attention, (0, 0, 0), {"need_weights": False}, output=0),
        "encoder layer": nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True),
    }


def test_what_they_return_is_what_a_call_by_hand_returns() -> None:
    options = _options()
    lstm, attention = options["lstm"], options["attention"]
    assert torch.equal(lstm(X), lstm.module(X)[0])
    assert torch.equal(attention(X), attention.module(X, X, X, need_weights=False)[0])


def test_outputs_by_name() -> None:
    pair = namedtuple("pair", "first second")

    class Two(nn.Module):
        def __init__(self, kind: type) -> None:
            super().__init__()
            self.kind = kind

        def forward(self, x: Tensor, y: Tensor) -> object:
            return {"first": x, "second": y} if self.kind is dict else self.kind(x, y)

    y = X + 1
    assert torch.equal(ModuleAdapter(Two(dict), output="second")(X, y), y)
    assert torch.equal(ModuleAdapter(Two(pair), output="second")(X, y), y)
    assert torch.equal(ModuleAdapter(Two(pair), output=0)(X, y), X)
    assert torch.equal(ModuleAdapter(Two(pair), (1, 1), output=0)(X, y), y)
    with pytest.raises(
        SearchSpaceError, match=r"Adapter of Two: no output 'third' in the dict of first, second"
    ):
        ModuleAdapter(Two(dict), output="third")(X, y)
    with pytest.raises(SearchSpaceError, match="no output 2 in the pair of 2"):
        ModuleAdapter(Two(pair), output=2)(X, y)
    with pytest.raises(SearchSpaceError, match="Adapter of Two: input 1 of 1"):
        ModuleAdapter(Two(pair), (0, 1))(X)


def test_adapters_that_differ_are_priced_apart() -> None:
    class Parts(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x @ x.transpose(1, 2)

    keys = {
        structure_key(ModuleAdapter(Parts(), output=output, keywords=keywords), (X,))
        for output in (0, 1)
        for keywords in ({}, {"scale": 2})
    }
    assert len(keys) == 4


@pytest.mark.parametrize("name", ["lstm", "attention", "encoder layer"])
def test_they_are_searched_and_exported(name: str, tmp_path: Path) -> None:
    network = nn.Sequential(Choice(_options()), nn.Linear(WIDTH, 3))
    space = SearchSpace("others", network, lambda batch, length: (X[:batch],), {0: "batch", 1: "length"})
    try_space(space, 1, 5)
    chosen = select(network, Architecture({"0": name})).eval()
    _assert_exported(chosen, space, tmp_path / "chosen.onnx")


def test_a_layer_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.models.bert.modeling_bert import BertLayer

    config = transformers.BertConfig(hidden_size=WIDTH, num_attention_heads=2, intermediate_size=16)
    layer = BertLayer(config).eval()
    bert = ModuleAdapter(layer, output=0) if isinstance(layer(X), tuple) else layer  # older versions
    network = nn.Sequential(Choice({"bert": bert, "linear": nn.Linear(WIDTH, WIDTH)}))
    space = SearchSpace("others", network, lambda batch, length: (X[:batch],), {0: "batch", 1: "length"})
    try_space(space, 1, 5)
    _assert_exported(select(network, Architecture({"0": "bert"})).eval(), space, tmp_path / "bert.onnx")


def _assert_exported(network: nn.Module, space: SearchSpace, path: Path) -> None:
    """Whatever the length is."""
    export_onnx(network, (X,), path, dynamic=space.dynamic, input_names=["x"], output_names=["y"])
    longer = torch.cat([X, X + 0.5], dim=1)[:1]
    with torch.no_grad():
        expected = network(longer)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"x": longer.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-4)
