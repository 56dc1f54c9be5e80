"""The peak of a module's memory in PyTorch, run eagerly on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hw_cost_models.live_bytes import LiveBytes, watch
from hw_cost_models.memory import MemoryProfile

if TYPE_CHECKING:
    from torch import Tensor, nn


def eager_memory(module: nn.Module, inputs: tuple[Tensor, ...]) -> MemoryProfile:
    """The peak of one forward in evaluation, run eagerly by PyTorch on a CPU.

    Over fake tensors, in milliseconds, unless a shape depends on data: then it runs on the real inputs. The
    module itself is neither run nor changed. Raises HardwareCostError when it does not run on the inputs.
    """
    live = watch(_forward, module, inputs)
    return MemoryProfile(weight_bytes(module), live.peak_bytes, live.peak_step, live.peak_operator)


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers; what is shared counts once."""
    storages = [tensor.untyped_storage() for tensor in (*module.parameters(), *module.buffers())]
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())


def _forward(live: LiveBytes, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    module.eval()
    with torch.no_grad():
        module(*inputs)
