"""Augmentation: images shifted and mirrored at random, by kornia."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn

from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Random crops, of the size of the image, from the image with a black border; one in two is mirrored.

    As is usual since He et al. 2015 (arXiv:1512.03385, section 4.2). `border` is a share of the side, taken
    to the nearest pixel but at least one: 2 of 28, 1 of 8. Mirror images are for what has no left and right:
    not for digits.

    Raises SearchSpaceError for a border that is not between 0 and 1, and where kornia is missing.
    """

    border: float = 1 / 14
    mirror: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.border < 1:
            raise SearchSpaceError(f"a border is a share of the side, between 0 and 1, got {self.border}")
        _transform(1, 1, self.mirror)  # what is missing is said before any training

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Real-valued (batch, channels, side, side) -> the same; drawn from `generator` and nothing else."""
        side = images.shape[-1]
        transform = _transform(side, max(1, round(self.border * side)), self.mirror)
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):  # kornia draws from the global generator
            torch.default_generator.manual_seed(seed)
            augmented: Tensor = transform(images)
        return augmented


@cache
def _transform(side: int, border: int, mirror: bool) -> nn.Sequential:
    """`side` and `border` in pixels."""
    try:
        from kornia.augmentation import RandomCrop, RandomHorizontalFlip
    except ImportError:
        raise SearchSpaceError(
            "augmenting images needs kornia; install the extra: pip install 'dnas[vision]'"
        ) from None
    steps: list[nn.Module] = [RandomCrop((side, side), padding=border)]
    return nn.Sequential(*steps, *([RandomHorizontalFlip()] if mirror else []))
