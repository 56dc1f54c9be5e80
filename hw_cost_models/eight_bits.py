"""Which tensors of a forward are integers of eight bits, though PyTorch computes with what they stand for.

A module that rounds its inputs (`fake_quantize`) and multiplies them by weights which it rounds, too, or
unpacks from integers, says what a runtime does with the integers themselves; how a file says the same is in
`onnx_quantised`. The product runs on integers, and what it reads takes a byte each, of packed weights less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hw_cost_models.graph import Kind
    from hw_cost_models.operator_call import Call

aten = torch.ops.aten

_ROUND = {
    aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams,
    aten.fake_quantize_per_channel_affine_cachemask,
    aten.fake_quantize_per_tensor_affine_cachemask,
}
_BYTES = {torch.int8, torch.uint8}


class EightBits:
    """What is known so far; `storage_of` tells apart where tensors are kept."""

    def __init__(self, storage_of: Callable[[Tensor], int]) -> None:
        self.storage_of = storage_of
        self._made_of: dict[int, dict[int, int]] = {}  # storage -> storages of integers, with their bytes

    def note(self, call: Call, constant: bool) -> None:
        """Hears of a call before it is described; `constant`: it is computed once, from weights alone."""
        if call.operator.overloadpacket in _ROUND:
            storage = self.storage_of(call.outputs[0])
            self._made_of[storage] = {storage: call.outputs[0].numel()}
        elif constant:
            integers = {key: size for tensor in call.inputs for key, size in self._integers(tensor).items()}
            for tensor in call.outputs:
                if integers:
                    self._made_of.setdefault(self.storage_of(tensor), integers)

    def multiplies(self, call: Call, kind: Kind) -> bool:
        """Whether the call is a product of integers."""
        known = [tensor for tensor in call.inputs if self.storage_of(tensor) in self._made_of]
        return kind in ("matmul", "convolution") and len(known) >= 2

    def bytes_of(self, tensor: Tensor, otherwise: int) -> int:
        """What is read of it, or written."""
        return min(otherwise, sum(self._integers(tensor).values()) or otherwise)

    def _integers(self, tensor: Tensor) -> dict[int, int]:
        """What a tensor is made of, or is itself."""
        storage = self.storage_of(tensor)
        own = {storage: tensor.untyped_storage().nbytes()} if tensor.dtype in _BYTES else {}
        return self._made_of.get(storage, own)
