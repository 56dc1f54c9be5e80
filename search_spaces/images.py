"""LabelledImages: which class does an image belong to."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from search_spaces.classification import Classification
from search_spaces.errors import DataError, SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from search_spaces.augmentation import Augmentation
    from search_spaces.examples import Examples
    from search_spaces.space import Batch, Split

_AT_ONCE = 1024
"""Images that are converted together where all are gone through."""


class LabelledImages(Classification):
    """Images, float32 (batch, channels, length, length), and their classes, (batch,).

    The inputs of `examples` are (examples, height, width) or (examples, height, width, channels), uint8 or
    float32, and stay so in memory. In a batch every channel is shifted and scaled to mean 0 and standard
    deviation 1 over the training split; `describe()` has both figures, for whoever feeds the exported file.
    `length` is the side in pixels: see `scaled`; None keeps that of the images. What is drawn from the
    training split is augmented; with None, left as it is.

    Raises DataError for images of another shape, not square where no length is given, or not finite;
    SearchSpaceError for a length below two.
    """

    metric_name = "bits per image"
    batch_multiple = 16
    """Batches of 64 to train on."""

    def __init__(
        self,
        name: str,
        examples: Examples,
        length: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        images = _channels_first(examples)
        if length is not None:
            images = scaled(images, length)
        elif images.shape[-2] != images.shape[-1]:
            size = "x".join(map(str, images.shape[:-3:-1]))
            raise DataError(
                f"{examples.source}: images of {size} pixels, and networks here take square ones: give a "
                "length, the side in pixels, and they are scaled and cut to it"
            )
        self.name, self.channels, self.length = name, images.shape[1], images.shape[-1]
        self.labels, self.classes = examples.names, examples.classes
        self._images, self._examples, self._augmentation = images, examples, augmentation
        self._mean, self._deviation = _statistics(images, examples.splits["train"])
        if not torch.isfinite(self._mean + self._deviation).all():
            raise DataError(f"{examples.source}: values of images that are not finite")

    def describe(self) -> dict[str, object]:
        """As of `Examples`; channels, length, what batches are normalised by, how they are augmented."""
        return {
            **self._examples.describe(),
            "channels": self.channels,
            "length": self.length,
            "mean": self._mean.flatten().tolist(),
            "standard_deviation": self._deviation.flatten().tolist(),
            "augmentation": asdict(self._augmentation) if self._augmentation else None,
        }

    def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
        """`size` examples, each drawn among all; those to train on are augmented."""
        places = self._examples.draw(split, size, generator)
        images = self._pixels(places)
        if self._augmentation and split == "train":
            images = self._augmentation(images, generator)
        return (self._normalised(images),), self._examples.labels[places]

    def batches(self, split: Split, size: int, count: int) -> Iterator[Batch]:
        """Up to `count` batches of equal size, no example twice, none augmented."""
        for places in self._examples.spread(split, size, count):
            yield (self._normalised(self._pixels(places)),), self._examples.labels[places]

    def _pixels(self, places: Tensor) -> Tensor:
        return self._images[places].to(torch.float32, memory_format=torch.contiguous_format)

    def _normalised(self, images: Tensor) -> Tensor:
        return (images - self._mean) / self._deviation


def scaled(images: Tensor, length: int) -> Tensor:
    """(images, channels, height, width) -> the same with (length, length), of the same type.

    The shorter side becomes `length` (bilinear, smoothed where it shrinks), and the middle is kept.
    """
    if length < 2:  # where the result is one pixel wide, torch gives one value for all its rows
        raise SearchSpaceError(f"an image needs at least two pixels a side, got length {length}")
    height, width = images.shape[-2:]
    if height == width == length:
        return images
    shorter = min(height, width)
    size = (round(height * length / shorter), round(width * length / shorter))
    top, left = (size[0] - length) // 2, (size[1] - length) // 2
    parts = [
        F.interpolate(part.float(), size, mode="bilinear", antialias=True)[
            ..., top : top + length, left : left + length
        ]
        for part in torch.split(images, _AT_ONCE)
    ]
    if images.is_floating_point():
        return torch.cat(parts)
    return torch.cat([part.round().clamp(0, 255).to(images.dtype) for part in parts])


def _channels_first(examples: Examples) -> Tensor:
    images = examples.inputs
    if images.dim() not in (3, 4) or images.dtype not in (torch.uint8, torch.float32):
        raise DataError(
            f"{examples.source}: images of shape {tuple(images.shape)} and type {images.dtype}, and they are "
            "(examples, height, width) or (examples, height, width, channels), uint8 or float32"
        )
    return images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)


def _statistics(images: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, (channels, 1, 1); 1 where a channel does not vary."""
    total = square = torch.zeros(images.shape[1], dtype=torch.float64)
    for part in torch.split(places, _AT_ONCE):
        pixels = images[part].double()
        total = total + pixels.sum(dim=(0, 2, 3))
        square = square + pixels.square().sum(dim=(0, 2, 3))
    count = len(places) * images.shape[-1] * images.shape[-2]
    mean = total / count
    deviation = (square / count - mean.square()).clamp(min=0).sqrt()
    deviation = torch.where(deviation > 0, deviation, 1.0)
    return mean.float()[:, None, None], deviation.float()[:, None, None]
