"""The inverse of triangular matrices, by products alone: ONNX has no operator that solves for one."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_lower_inverse(below: Tensor) -> Tensor:
    """(I + below)⁻¹ of strictly lower triangular matrices: (..., n, n) -> the same.

    Blocks on the diagonal are inverted and merged, pair by pair, up to the whole; all pairs at once:

        [A 0]⁻¹   [    A⁻¹      0 ]
        [B D]   = [-D⁻¹ B A⁻¹  D⁻¹]

    Stable, unlike (I - N)(I + N²)(I + N⁴)…, which is as exact on paper: tokens that repeat make powers of N
    whose entries are binomial coefficients, and at n = 64 no digit of their sum is right in single precision.
    """
    size = below.shape[-1]
    row = torch.arange(size, device=below.device)[:, None]
    column = row.T
    inverse = torch.eye(size, dtype=below.dtype, device=below.device) - below * _corners(row, column, 1)
    half = 2
    while half < size:
        inverse = inverse - inverse @ (below * _corners(row, column, half)) @ inverse
        half *= 2
    return inverse


def _corners(row: Tensor, column: Tensor, half: int) -> Tensor:
    """Where B is in pairs of blocks of size `half`: in odd rows of blocks, left of the diagonal."""
    return (row // half % 2 == 1) & (column // half == row // half - 1)
