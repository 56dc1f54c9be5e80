"""The modules compute what ONNX Runtime computes from the files."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import torch

from hw_cost_models.anchors import write_anchors
from hw_cost_models.runtimes.anchor_modules import module_of

if TYPE_CHECKING:
    from pathlib import Path


def test_each_anchor_is_the_same_network(tmp_path: Path) -> None:
    for path, feed in write_anchors(tmp_path).values():
        (expected,) = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)
        module = pickle.loads(pickle.dumps(module_of(onnx.load(path))))  # as it reaches another process
        result = module(torch.from_numpy(feed["input"]))
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-4, atol=1e-5)
