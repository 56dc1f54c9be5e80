"""What the exporter knows is read once, it writes what it always writes, and PyTorch is left as it was."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.onnx._internal.exporter import _registration

from hw_cost_models import exporter
from hw_cost_models.exporter import readied


def _exported() -> bytes:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.LayerNorm(3)).eval()
    program = torch.onnx.export(network, (torch.ones(2, 4),), dynamo=True, verbose=False)
    assert program is not None
    return program.model_proto.SerializeToString()


def test_the_library_of_operators_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = _registration.onnxscript_apis.get_torchlib_ops

    def counted() -> object:
        read.append(1)
        return whole()

    monkeypatch.setattr(exporter, "_KNOWN", {})
    monkeypatch.setattr(_registration.onnxscript_apis, "get_torchlib_ops", counted)
    made = vars(_registration.ONNXRegistry)["from_torchlib"]
    for _ in range(2):
        with readied():
            first, second = _exported(), _exported()
    assert first == second
    assert len(read) == 1
    assert vars(_registration.ONNXRegistry)["from_torchlib"] is made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = _exported()
    assert plain == first
    assert len(read) == 2


def test_an_error_inside_leaves_pytorch_as_it_was() -> None:
    made = vars(_registration.ONNXRegistry)["from_torchlib"]
    with pytest.raises(KeyError), readied():
        raise KeyError
    assert vars(_registration.ONNXRegistry)["from_torchlib"] is made
