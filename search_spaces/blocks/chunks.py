"""Sequences in chunks: cut into them, and a state passed from one to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable


def into_chunks(x: Tensor, chunk: int) -> Tensor:
    """(batch, length, ...) -> (batch, chunks, chunk, ...), with zeros after the last token."""
    padded = F.pad(x, (0, 0) * (x.dim() - 2) + (0, -x.shape[1] % chunk))
    return torch.unflatten(padded, 1, (-1, chunk))


def pass_states(
    advance: Callable[[Tensor, Tensor, Tensor], Tensor], first: Tensor, transitions: Tensor, updates: Tensor
) -> tuple[Tensor, Tensor]:
    """The state before each chunk, (batch, chunks, ...), and the one after the last, (batch, ...).

    `advance(state, transition, update)` is the state after a chunk, from the one before it and the chunk's
    own slices of `transitions` and `updates`, both (batch, chunks, ...).

    Eagerly a loop: it runs and differentiates without the compiler that `scan` calls for. An exported graph
    takes the `scan`, which leaves the number of chunks free: it becomes the operator Scan of ONNX.
    """
    if torch.compiler.is_exporting():
        last, before = scan(
            lambda state, own: (advance(state, *own), state.clone()), first, (transitions, updates), dim=1
        )
        return before, last
    states = [first]
    for transition, update in zip(transitions.unbind(1), updates.unbind(1), strict=True):
        states.append(advance(states[-1], transition, update))
    return torch.stack(states[:-1], dim=1), states[-1]
