"""What kernels take to work in, against the log of ONNX Runtime running each of them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import helper

from hw_cost_models.onnxruntime_peak import onnxruntime_memory
from tests.hw_cost_models.onnx_files import MS, arena, save

if TYPE_CHECKING:
    from pathlib import Path


def _node(operator: str, inputs: str, domain: str = "", **attributes: Any) -> list[onnx.NodeProto]:
    return [helper.make_node(operator, inputs.split(), ["a"], domain=domain, **attributes)]


def _floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.measured
@pytest.mark.parametrize(
    ("nodes", "shape", "weights", "opset"),
    [
        (_node("Conv", "x w", pads=[1, 1]), [2, 16, 512], {"w": _floats(16, 16, 3)}, 20),
        (_node("Conv", "x w", pads=[1, 1]), [2, 16, 32], {"w": _floats(512, 16, 3)}, 20),
        (_node("Conv", "x w"), [2, 16, 512], {"w": _floats(16, 16, 1)}, 20),
        (_node("ConvTranspose", "x w", strides=[2, 2]), [2, 16, 32, 32], {"w": _floats(16, 8, 4, 4)}, 20),
        (
            _node("GRU", "x w r", hidden_size=64),
            [128, 4, 32],
            {"w": _floats(1, 192, 32), "r": _floats(1, 192, 64)},
            20,
        ),
        (
            _node("Einsum", "x w", equation="bhid,bhjd->bhij"),
            [2, 4, 64, 32],
            {"w": _floats(2, 4, 64, 32)},
            20,
        ),
        (
            _node("LSTM", "x w r", hidden_size=96, direction="bidirectional"),
            [64, 8, 32],
            {"w": _floats(2, 384, 32), "r": _floats(2, 384, 96)},
            20,
        ),
        (_node("LRN", "x", size=5), [1, 64, 16, 16], {}, 20),
        (_node("Softmax", "x", axis=1), [2, 256, 128], {}, 20),
        (_node("BiasGelu", "x b", MS), [2, 256, 128], {"b": _floats(128)}, 20),
        (_node("Attention", "x x x", is_causal=1), [2, 4, 256, 32], {}, 23),
        (
            _node("Attention", "x w b", MS, num_heads=4),
            [2, 256, 128],
            {"w": _floats(128, 384), "b": _floats(384)},
            20,
        ),
    ],
)
def test_what_kernels_work_in(
    tmp_path: Path, nodes: list[onnx.NodeProto], shape: list[int], weights: dict[str, np.ndarray], opset: int
) -> None:
    path = save(tmp_path, nodes, shape, opset, **weights)
    measured = arena(path, x=np.ones(shape, np.float32))
    assert onnxruntime_memory(path).arena_bytes == pytest.approx(measured, rel=0.02)
