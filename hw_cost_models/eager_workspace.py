"""What PyTorch's CPU kernels take to work in, beside their inputs and outputs.

Convolutions go through oneDNN, which works on layouts of its own: the input is copied into one before, and
the output out of one after, when the input's copy is gone already. The backward for the weight holds both
copies at once, and code is generated for every shape, about 0.2 MB. A convolution that is a matrix product
needs neither, but a buffer for one image. That buffer and the code stay.

Found by the resident size around single convolutions (PyTorch 2.13, AVX2); matrix products, attention,
normalisation and elementwise operators take less than 0.1 MB there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from torch import Tensor

_FORWARD = torch.ops.aten.convolution.default
_BACKWARD = torch.ops.aten.convolution_backward.default

CODE_BYTES = 180_000
"""Of the backward of one shape; between 90,000 and 350,000 found."""


class Workspace(NamedTuple):
    """Bytes that one call of an operator takes at most."""

    passing: int = 0
    """While it runs."""
    kept: int = 0
    """In a buffer that stays, and that later calls use too."""
    code: Hashable = None
    """What code is generated for; None where none is."""


def workspace(func: torch._ops.OpOverload, args: tuple[Any, ...], outputs: Sequence[Tensor]) -> Workspace:
    """Of this call, with these arguments by position and these outputs."""
    if func is _FORWARD:
        source, weight, _, stride, *_ = args
        copies = max(_bytes(source), _bytes(outputs[0]))
        code = None
    elif func is _BACKWARD:
        gradient, source, weight, _, stride, *_ = args
        copies = _bytes(source) + _bytes(gradient)
        code = (*gradient.shape, *source.shape, *weight.shape)
    else:
        return Workspace()
    if math.prod(weight.shape[2:]) == 1 and math.prod(stride) == 1:
        return Workspace(kept=_bytes(source) // source.shape[0])
    return Workspace(passing=copies + _bytes(weight), code=code)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
