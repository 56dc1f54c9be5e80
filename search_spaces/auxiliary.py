"""What a block deep inside a network tells whoever trains it: its router's loss, and where tokens went.

A block calls `report(loss)`; a trainer wraps the forward in `with collect() as losses:`. The list belongs to
that `with` block alone, so nothing is left on any module, and without a listener (evaluation, export)
reporting costs nothing. With activation checkpointing the backward pass belongs inside the block too: it
calls the forward again, and must find the same listener. Loads go the same way to listeners of their own.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

T = TypeVar("T")


class Load(NamedTuple):
    """How a router spread its tokens in one forward."""

    router: nn.Module
    """The module that made the choice: views of a network share it, so it tells which router this was."""
    shares: Tensor
    """The fraction of assignments that each expert got, shape (experts,); what lacks to one was skipped."""


_losses: ContextVar[list[Tensor] | None] = ContextVar("auxiliary_losses", default=None)
_loads: ContextVar[list[Load] | None] = ContextVar("router_loads", default=None)


def listening() -> bool:
    """Whether anyone collects: lets a block skip the arithmetic of what nobody reads."""
    return _losses.get() is not None or _loads.get() is not None


def report(loss: Tensor) -> None:
    """Hand over a scalar loss, already scaled as it should be added to the task's loss."""
    losses = _losses.get()
    if losses is not None:
        losses.append(loss)


def report_load(load: Load) -> None:
    """Hand over where the tokens of this forward went."""
    loads = _loads.get()
    if loads is not None:
        loads.append(load)


def collect() -> AbstractContextManager[list[Tensor]]:
    """Every loss reported inside the `with` block, in order."""
    return _collecting(_losses)


def collect_loads() -> AbstractContextManager[list[Load]]:
    """Every load reported inside the `with` block, in order."""
    return _collecting(_loads)


@contextmanager
def _collecting(listener: ContextVar[list[T] | None]) -> Iterator[list[T]]:
    heard: list[T] = []
    token = listener.set(heard)
    try:
        yield heard
    finally:
        listener.reset(token)
