"""Layers that hold integers: what quantised layers ship as.

In PyTorch they compute with what the integers stand for. Exported, they are operators by which a runtime
computes with the integers themselves, in the same numbers: `QuantizeLinear` and `DequantizeLinear` around a
product of int8, which ONNX Runtime fuses with it, and its `MatMulNBits` for int4.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BLOCK = 32
"""Neighbours along the inputs whose weights of four bits share a scale and a zero point."""
INT8_WEIGHT = 64
"""Weights of int8 are -64 to 64: a CPU without VNNI adds products in pairs, in 16 bits, and those of larger
weights do not fit (ONNX Runtime calls it a reduced range)."""
INT8_INPUT = 255
INT4_WEIGHT = 15
INT4_INPUT = 127
TINY = 1e-12
"""Of what is zero throughout, the scale is positive all the same."""

Numbers = tuple[Tensor, Tensor]
"""Scale and zero point: an integer n stands for scale · (n - zero)."""


class _Product(nn.Module):
    """A linear layer of integers; `held` of its weights are stored when zeros are not."""

    def __init__(self, bias: nn.Parameter | None, held: int) -> None:
        super().__init__()
        self.bias = bias
        self.held = held

    def nonzero_parameters(self) -> int:
        return self.held + (0 if self.bias is None else self.bias.numel())


class Int8Linear(_Product):
    """(..., inputs) -> (..., outputs). Weights have a scale for each output, inputs one and a zero point."""

    def __init__(
        self, weight: Tensor, scale: Tensor, inputs: Numbers, bias: nn.Parameter | None, held: int
    ) -> None:
        """`weight` (outputs, inputs) is what the integers stand for."""
        super().__init__(bias, held)
        self.out_features, self.in_features = weight.shape
        self.integers = nn.Buffer((weight / scale[:, None]).round().to(torch.int8).t().contiguous())
        self.scale, self.zeros = nn.Buffer(scale), nn.Buffer(torch.zeros_like(scale, dtype=torch.int8))
        self.input_scale, self.input_zero = (nn.Buffer(number) for number in _of_inputs(inputs))

    @property
    def weight(self) -> Tensor:
        """What the integers stand for, (outputs, inputs)."""
        return (self.integers * self.scale).t()

    def forward(self, x: Tensor) -> Tensor:
        x = _through_integers(x, self.input_scale, self.input_zero)
        if not torch.compiler.is_exporting():
            return F.linear(x, self.weight, self.bias)
        weight = _dequantised(self.integers, self.scale, self.zeros, axis=1)
        if self.bias is None:
            return x @ weight
        flat = x.dim() == 2  # a product of matrices and a bias become one operator, which takes no integers
        y = (x.unsqueeze(0) if flat else x) @ weight + self.bias
        return y.squeeze(0) if flat else y


class Int8Convolution(nn.Module):
    """A convolution of integers, whose output is in integers, too: without, no runtime fuses it."""

    def __init__(
        self, layer: nn.Conv1d | nn.Conv2d, weight: Tensor, scale: Tensor, inputs: Numbers, outputs: Numbers
    ) -> None:
        """As `layer`, of which the bias is kept; `weight` is what the integers stand for."""
        super().__init__()
        self.integers = nn.Buffer((weight / _along(scale, weight)).round().to(torch.int8))
        self.scale, self.zeros = nn.Buffer(scale), nn.Buffer(torch.zeros_like(scale, dtype=torch.int8))
        self.input_scale, self.input_zero = (nn.Buffer(number) for number in _of_inputs(inputs))
        self.output_scale, self.output_zero = (nn.Buffer(number) for number in _of_inputs(outputs))
        self.bias = layer.bias
        self.layer = copy.copy(layer)  # for its strides and padding: its weight is no part of this
        self.layer._parameters = {"weight": None, "bias": None}

    def nonzero_parameters(self) -> int:
        return self.integers.numel() + (0 if self.bias is None else self.bias.numel())

    def forward(self, x: Tensor) -> Tensor:
        x = _through_integers(x, self.input_scale, self.input_zero)
        if torch.compiler.is_exporting():
            weight = _dequantised(self.integers, self.scale, self.zeros, axis=0)
        else:
            weight = self.integers * _along(self.scale, self.integers)
        y = self.layer._conv_forward(x, weight, None)
        y = _through_integers(y, self.output_scale, self.output_zero)
        return y if self.bias is None else y + _along(self.bias, weight[0])


class Int4Linear(_Product):
    """(..., inputs) -> (..., outputs). Weights of four bits in blocks; inputs of eight, in blocks, too."""

    def __init__(
        self,
        blocks: Tensor,
        numbers: Numbers,
        sizes: tuple[int, int],
        bias: nn.Parameter | None,
        held: int,
    ) -> None:
        """`blocks` (outputs · blocks, BLOCK) is what the integers stand for, with the numbers of each block;
        `sizes` are (outputs, inputs), of which the last block may hold fewer."""
        super().__init__(bias, held)
        self.out_features, self.in_features = sizes
        scale, zero = numbers
        integers = (blocks / scale[:, None] + zero[:, None]).round().to(torch.uint8)
        self.packed = nn.Buffer(_packed(integers.view(self.out_features, -1, BLOCK)))
        self.scale = nn.Buffer(scale.view(self.out_features, -1))
        self.zeros = nn.Buffer(_packed(zero.to(torch.uint8).view(self.out_features, -1)))

    @property
    def weight(self) -> Tensor:
        """What the integers stand for, (outputs, inputs)."""
        integers, zeros = _unpacked(self.packed), _unpacked(self.zeros)[:, : self.scale.shape[1], None]
        return ((integers - zeros) * self.scale[..., None]).flatten(1)[:, : self.in_features]

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            return F.linear(eight_bit_blocks(x), self.weight, self.bias)
        sizes = {
            "K": self.in_features,
            "N": self.out_features,
            "bits": 4,
            "block_size": BLOCK,
            "accuracy_level": 4,
        }
        y = _onnx(
            "com.microsoft::MatMulNBits",
            (x, self.packed, self.scale.flatten(), self.zeros.flatten()),
            torch.float32,
            (*x.shape[:-1], self.out_features),
            sizes,
        )
        return y if self.bias is None else y + self.bias


def in_blocks(x: Tensor) -> Tensor:
    """(..., n) -> (rows, BLOCK), filled up with zeros."""
    return F.pad(x, (0, -x.shape[-1] % BLOCK)).reshape(-1, BLOCK)


def eight_bit_blocks(x: Tensor) -> Tensor:
    """x in integers of eight bits, each block by its largest, as MatMulNBits at accuracy level 4 takes it."""
    if not x.numel():
        return x
    blocks = in_blocks(x)
    scale = blocks.detach().abs().amax(1).clamp_min(TINY) / INT4_INPUT
    zero = torch.zeros_like(scale, dtype=torch.int32)
    rounded = torch.fake_quantize_per_channel_affine(blocks, scale, zero, 0, -INT4_INPUT, INT4_INPUT)
    width = BLOCK * math.ceil(x.shape[-1] / BLOCK)
    return rounded.reshape(*x.shape[:-1], width)[..., : x.shape[-1]]


def _of_inputs(numbers: Numbers) -> Numbers:
    scale, zero = numbers
    return scale.detach().clone().reshape(()), zero.detach().to(torch.uint8).reshape(())


def _along(channels: Tensor, weight: Tensor) -> Tensor:
    """(outputs,) -> (outputs, 1, ...), to go with a weight."""
    return channels.reshape(-1, *(1 for _ in weight.shape[1:]))


def _packed(integers: Tensor) -> Tensor:
    """Two of four bits in a byte, the first below. (..., n) -> (..., n / 2)."""
    even = F.pad(integers, (0, integers.shape[-1] % 2))
    return even[..., 0::2] | (even[..., 1::2] << 4)


def _unpacked(packed: Tensor) -> Tensor:
    return torch.stack((packed & 15, packed >> 4), dim=-1).flatten(-2).to(torch.float32)


def _through_integers(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """x rounded to integers of eight bits."""
    if not torch.compiler.is_exporting():
        return torch.fake_quantize_per_tensor_affine(x, scale, zero.to(torch.int32), 0, INT8_INPUT)
    integers = _onnx("::QuantizeLinear", (x, scale, zero), torch.uint8, x.shape)
    return _onnx("::DequantizeLinear", (integers, scale, zero), torch.float32, x.shape)


def _dequantised(integers: Tensor, scale: Tensor, zeros: Tensor, axis: int) -> Tensor:
    numbers = (integers, scale, zeros)
    return _onnx("::DequantizeLinear", numbers, torch.float32, integers.shape, {"axis": axis})


def _onnx(
    operator: str,
    inputs: Sequence[Tensor],
    dtype: torch.dtype,
    shape: Sequence[int],
    attributes: Mapping[str, int] | None = None,
) -> Tensor:
    """An operator of the exported file, `domain::name`."""
    y: Tensor = torch.onnx.ops.symbolic(
        operator, inputs, dict(attributes or {}), dtype=dtype, shape=shape, version=1
    )
    return y
