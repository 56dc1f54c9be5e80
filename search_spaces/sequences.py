"""LabelledSequences: which class does a sequence of tokens belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.classification import Classification
from search_spaces.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from search_spaces.examples import Examples
    from search_spaces.space import Batch, Split

TOKENS = 256
"""The vocabulary of the networks here: bytes, or any other tokens from 0 to 255."""


class LabelledSequences(Classification):
    """Tokens, int64 (batch, length), and the classes of the sequences, (batch,).

    The inputs of `examples` are whole numbers, (examples, length). `length` may be left out: it is theirs.

    Raises DataError for inputs of another shape, tokens out of range, and a length that is not theirs.
    """

    metric_name = "bits per sequence"

    def __init__(self, name: str, examples: Examples, length: int | None = None) -> None:
        tokens, source = examples.inputs, examples.source
        if tokens.dim() != 2 or not tokens.shape[-1] or tokens.is_floating_point():
            raise DataError(
                f"{source}: sequences of shape {tuple(tokens.shape)} and type {tokens.dtype}, and they are "
                "whole numbers, (examples, length)"
            )
        lowest, highest = int(tokens.min()), int(tokens.max())
        if lowest < 0 or highest >= TOKENS:
            outside = lowest if lowest < 0 else highest
            raise DataError(f"{source}: token {outside} is out of range: tokens are 0 to {TOKENS - 1}")
        if length not in (None, tokens.shape[-1]):
            raise DataError(
                f"{source}: sequences of {tokens.shape[-1]} tokens, and a length of {length} was asked for: "
                "leave it out, or cut them"
            )
        self.name, self.length = name, tokens.shape[-1]
        self.labels, self.classes = examples.names, examples.classes
        self._examples = examples

    def describe(self) -> dict[str, object]:
        """As of `Examples`, and the length."""
        return {**self._examples.describe(), "length": self.length}

    def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
        """`size` examples, each drawn among all."""
        return self._batch(self._examples.draw(split, size, generator))

    def batches(self, split: Split, size: int, count: int) -> Iterator[Batch]:
        """Up to `count` batches of equal size, no example twice."""
        return map(self._batch, self._examples.spread(split, size, count))

    def _batch(self, places: torch.Tensor) -> Batch:
        return (self._examples.inputs[places].long(),), self._examples.labels[places]
