"""Auxiliary losses: how a block deep inside a network hands its router's loss to whoever trains it.

A block calls `report(loss)`; a trainer wraps the forward in `with collect() as losses:`. The list belongs to
that `with` block alone, so nothing is left on any module, and without a listener (evaluation, export)
reporting costs nothing. With activation checkpointing the backward pass belongs inside the block too: it
calls the forward again, and must find the same listener.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

_listener: ContextVar[list[Tensor] | None] = ContextVar("auxiliary_losses", default=None)


def listening() -> bool:
    """Whether anyone collects: lets a block skip the arithmetic of a loss that nobody reads."""
    return _listener.get() is not None


def report(loss: Tensor) -> None:
    """Hand over a scalar loss, already scaled as it should be added to the task's loss."""
    losses = _listener.get()
    if losses is not None:
        losses.append(loss)


@contextmanager
def collect() -> Iterator[list[Tensor]]:
    """Everything reported inside the `with` block, in order."""
    losses: list[Tensor] = []
    token = _listener.set(losses)
    try:
        yield losses
    finally:
        _listener.reset(token)
