"""What runs in a fresh process, on the runtime that is measured: numpy and that runtime, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_cost_models.runtimes.onnxruntime import OnnxRuntime
from hw_cost_models.runtimes.openvino import OpenVino
from hw_cost_models.runtimes.pytorch import CompiledPyTorch, PyTorch

if TYPE_CHECKING:
    from hw_cost_models.runtimes.runtime import Runtime

RUNTIMES: dict[str, type[Runtime]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "pytorch": PyTorch,
    "torch.compile": CompiledPyTorch,
}
"""By the name that a device gives. Each imports its library when it is made."""
