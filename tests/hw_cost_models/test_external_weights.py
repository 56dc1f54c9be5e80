"""Weights moved beside an ONNX file: the same outputs, in ONNX Runtime, from a smaller file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from hw_cost_models.export import export_onnx
from hw_cost_models.external_weights import move_weights_beside, weight_bytes_inside

if TYPE_CHECKING:
    from pathlib import Path

X = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))


def _outputs(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X.numpy()})[0]


def _export(module: nn.Module, path: Path) -> None:
    export_onnx(module, (X,), path, dynamic={0: "batch"}, input_names=("x",), output_names=("y",))


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    _export(nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 8)), path)
    return path


def test_what_is_moved_beside_computes_the_same(exported: Path) -> None:
    before, weights, size = _outputs(exported), weight_bytes_inside(exported), exported.stat().st_size
    assert weights >= 4 * (64 * 512 + 512 + 512 * 8 + 8)
    beside = move_weights_beside(exported)
    assert beside == exported.with_name("net.onnx.data")
    assert beside.stat().st_size >= 4 * (64 * 512 + 512 + 512 * 8)
    assert exported.stat().st_size < size - 4 * (64 * 512 + 512 * 8)
    assert weight_bytes_inside(exported) < 1024, "only what is too small to move"
    assert np.array_equal(_outputs(exported), before)
    assert sorted(p.name for p in exported.parent.iterdir()) == ["net.onnx", "net.onnx.data"]


def test_a_file_without_weights_to_move_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    _export(nn.Linear(64, 1), path)
    before = path.read_bytes()
    assert move_weights_beside(path) is None
    assert path.read_bytes() == before
