"""Quantisation-aware layers: in training they compute in the numbers in which their file will.

Weights and inputs go through the integers that they will be (Jacob et al. 2018, arXiv:1712.05877, section 3),
and the gradient passes straight through the rounding (Bengio et al. 2013, arXiv:1308.3432, section 4). What
ships, `finalised`, holds the integers.

    int8    weights -64 to 64, a scale for each output; inputs 0 to 255, one scale that follows their range
    int4    weights 0 to 15, a scale and a zero point for each block of 32; inputs eight bits by blocks
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.sparse import SparseLinear, finalised
from search_spaces.choice import join
from search_spaces.elastic import Sliced, elastic
from search_spaces.integers import (
    BLOCK,
    INT4_WEIGHT,
    INT8_INPUT,
    INT8_WEIGHT,
    TINY,
    Int4Linear,
    Int8Convolution,
    Int8Linear,
    eight_bit_blocks,
    in_blocks,
)
from search_spaces.view import view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from search_spaces.elastic import Sizes
    from search_spaces.integers import Numbers

Precision = Literal["fp32", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_FOLLOW = 0.05
"""How far the range of a layer's inputs goes towards that of a batch in each step of training."""
_USUAL = 4.0
"""Inputs are normalised: so far their range goes before any was seen."""


class EightBits(nn.Module):
    """Rounds a tensor to 256 numbers over a range that follows, in training, the moving average of what it
    sees. What is beyond the range is cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Buffer(torch.tensor(torch.inf)), nn.Buffer(torch.tensor(-torch.inf))
        self.scale = nn.Buffer(torch.tensor([2 * _USUAL / INT8_INPUT]))
        self.zero = nn.Buffer(torch.tensor([(INT8_INPUT + 1) // 2], dtype=torch.int32))

    @property
    def numbers(self) -> Numbers:
        return self.scale, self.zero

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not x.numel():
            return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, INT8_INPUT)
        yes = torch.ones(1, dtype=torch.long)
        return torch.fused_moving_avg_obs_fake_quant(
            x, yes, yes, self.low, self.high, self.scale, self.zero, _FOLLOW, 0, INT8_INPUT, 0
        )


class _Aware(nn.Module):
    """A linear layer as it will ship. (..., inputs) -> (..., outputs). `layer` stays shared.

    Whoever asks for sizes, bias or weight as of any linear layer gets them, the weight rounded.
    """

    def __init__(self, layer: nn.Linear | SparseLinear) -> None:
        super().__init__()
        self.layer = layer
        self.out_features, self.in_features = layer.weight.shape

    @property
    def dense(self) -> Tensor:
        """What is rounded: the weight in floats, with its zeros where it is sparse."""
        return self.layer.sparse_weight() if isinstance(self.layer, SparseLinear) else self.layer.weight

    @property
    def bias(self) -> nn.Parameter | None:
        return self.layer.bias if isinstance(self.layer, nn.Linear) else None

    @property
    def held(self) -> int:
        """Weights that are stored when zeros are not."""
        layer = self.layer
        return layer.nonzero_parameters() if isinstance(layer, SparseLinear) else layer.weight.numel()


class Int8AwareLinear(_Aware):
    """In eight bits."""

    def __init__(self, layer: nn.Linear | SparseLinear, inputs: EightBits) -> None:
        super().__init__(layer)
        self.inputs = inputs

    @property
    def weight(self) -> Tensor:
        return _eight_bit_weight(self.dense)[0]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.inputs(x), self.weight, self.bias)

    def finalised(self) -> Int8Linear:
        """The integers."""
        with torch.no_grad():
            weight, scale = _eight_bit_weight(self.dense)
        return Int8Linear(weight, scale, self.inputs.numbers, self.bias, self.held)


class Int4AwareLinear(_Aware):
    """In four bits."""

    @property
    def weight(self) -> Tensor:
        blocks, _ = _four_bit_blocks(self.dense)
        return blocks.reshape(self.out_features, -1)[:, : self.in_features]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(eight_bit_blocks(x), self.weight, self.bias)

    def finalised(self) -> Int4Linear:
        """The integers."""
        with torch.no_grad():
            blocks, numbers = _four_bit_blocks(self.dense)
        return Int4Linear(blocks, numbers, (self.out_features, self.in_features), self.bias, self.held)


class Int8AwareConvolution(nn.Module):
    """A convolution as it will be in eight bits, output included, before the bias. `layer` stays shared."""

    def __init__(self, layer: nn.Conv1d | nn.Conv2d, inputs: EightBits, outputs: EightBits) -> None:
        super().__init__()
        self.layer = layer
        self.inputs, self.outputs = inputs, outputs

    @property
    def weight(self) -> Tensor:
        return _eight_bit_weight(self.layer.weight)[0]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.outputs(self.layer._conv_forward(self.inputs(x), self.weight, None))
        bias = self.layer.bias
        return y if bias is None else y + bias.reshape(-1, *(1 for _ in self.layer.kernel_size))

    def finalised(self) -> Int8Convolution:
        """The integers."""
        with torch.no_grad():
            weight, scale = _eight_bit_weight(self.layer.weight)
        return Int8Convolution(self.layer, weight, scale, self.inputs.numbers, self.outputs.numbers)


class Part(nn.Module):
    """A slice of an elastic block in one precision, as an option that is there by itself.

    It shares the block, and so do copies of it; what its layers have seen is its own.
    """

    def __init__(self, block: nn.Module, sizes: Sizes, precision: str) -> None:
        super().__init__()
        self.block = block
        self.sizes, self.precision = dict(sizes), precision
        part = quantised(elastic(block).sliced(sizes), precision)
        seen = {path: m for path, m in part.named_modules() if isinstance(m, EightBits)}
        self.seen = nn.ModuleDict({path.replace(".", "/"): m for path, m in seen.items()})

    def as_option(self) -> nn.Module:
        """What stands in a view: it runs the slice, and a copy of it is a plain module."""
        if self.precision == "fp32":
            return Sliced(self.block, self.sizes)
        return _QuantisedSlice(self.block, self.sizes, self.precision, self.seen)


class _QuantisedSlice(nn.Module):
    """A slice of a block in a view, quantised: from the block's current weights at every call."""

    def __init__(self, block: nn.Module, sizes: Sizes, precision: str, seen: nn.ModuleDict) -> None:
        super().__init__()
        self.block = block
        self.sizes, self.precision = sizes, precision
        self.seen = seen

    def forward(self, *inputs: Tensor) -> Tensor:
        y: Tensor = self._of(elastic(self.block).sliced(self.sizes), self.seen)(*inputs)
        return y

    def _of(self, part: nn.Module, seen: nn.ModuleDict) -> nn.Module:
        return quantised(part, self.precision, {path.replace("/", "."): m for path, m in seen.items()})

    def __deepcopy__(self, memo: dict[int, object]) -> nn.Module:
        plain = copy.deepcopy(Sliced(self.block, self.sizes), memo)
        return self._of(plain, copy.deepcopy(self.seen, memo))

    def finalised(self) -> nn.Module:
        """The integers."""
        return finalised(copy.deepcopy(self))


def quantised(block: nn.Module, precision: str, seen: Mapping[str, nn.Module] | None = None) -> nn.Module:
    """A view of the block that computes in this precision, weights shared; fp32 is the block itself.

    What cannot be in this precision, or is too small to be worth it, such as a router, stays in floats.
    `seen` are the ranges that its layers go on with, by path.
    """

    def instead(path: str, module: nn.Module) -> nn.Module | None:
        def eight_bits(name: str) -> EightBits:
            known = (seen or {}).get(join(path, name), EightBits())
            assert isinstance(known, EightBits)
            return known

        return _aware(module, precision, eight_bits)

    return view(block, instead)


def in_floats(network: nn.Module) -> nn.Module:
    """A view of the network in which quantised layers compute in floats, with the weights they have."""
    return view(network, lambda _, module: module.layer if isinstance(module, _AWARE) else None)


def is_quantised(network: nn.Module) -> bool:
    """Whether any layer of it is, or may be."""
    return any(isinstance(module, (*_AWARE, _QuantisedSlice)) for module in network.modules())


_AWARE = (Int8AwareLinear, Int8AwareConvolution, Int4AwareLinear)


def _aware(module: nn.Module, precision: str, eight_bits: Callable[[str], EightBits]) -> nn.Module | None:
    """What stands for a layer in this precision; None for what is not a layer that it suits."""
    if isinstance(module, nn.Linear | SparseLinear) and min(module.weight.shape) >= BLOCK:
        if precision == "int8":
            return Int8AwareLinear(module, eight_bits("inputs"))
        return Int4AwareLinear(module) if precision == "int4" else None
    if isinstance(module, nn.Conv1d | nn.Conv2d) and precision == "int8":
        return Int8AwareConvolution(module, eight_bits("inputs"), eight_bits("outputs"))
    return None


def _eight_bit_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """What the integers stand for, and the scale of each output."""
    scale = weight.detach().abs().flatten(1).amax(1).clamp_min(TINY) / INT8_WEIGHT
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -INT8_WEIGHT, INT8_WEIGHT), scale


def _four_bit_blocks(weight: Tensor) -> tuple[Tensor, Numbers]:
    """What the integers stand for, in blocks, and the numbers of each block."""
    blocks = in_blocks(weight)
    low, high = blocks.detach().amin(1).clamp_max(0.0), blocks.detach().amax(1).clamp_min(0.0)
    scale = (high - low).clamp_min(TINY) / INT4_WEIGHT
    zero = (-low / scale).round().to(torch.int32)
    rounded = torch.fake_quantize_per_channel_affine(blocks, scale, zero, 0, 0, INT4_WEIGHT)
    return rounded, (scale, zero)
