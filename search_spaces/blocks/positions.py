"""Blocks of sequences over images: every position of the image is a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class OverPositions(nn.Module):
    """A block of (batch, length, width) over the positions of an image, row by row.

    (batch, width, h, w) -> the same. Rotary positions count along the rows, so that a difference of them
    stands for a number of rows and columns, but for pairs across the end of a row. Where in the image
    something is, the convolutions below have told: their zeros mark the border (Islam et al. 2020,
    arXiv:2001.08248), for which reason CvT (Wu et al. 2021, arXiv:2103.15808, section 4.4) does without
    positions.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x.flatten(2).transpose(1, 2))  # (batch, h · w, width)
        return y.transpose(1, 2).reshape(x.shape)
