"""A recurrence chunk by chunk: what mixers with a decaying state of fixed size have in common."""

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
    return padded.reshape(x.shape[0], -1, chunk, *x.shape[2:])


def decay_between(summed: Tensor) -> Tensor:
    """How much of what token s wrote is left at token t: (..., chunk) -> (..., chunk of t, chunk of s).

    `summed` are sums over the logarithms of the tokens' decays from the first of the chunk on. Exactly zero
    for s after t. A difference and not a quotient of decays, which underflow: no part of it exceeds one.
    """
    chunk = summed.shape[-1]
    future = torch.full((chunk, chunk), -torch.inf, dtype=summed.dtype, device=summed.device).triu(1)
    return (summed[..., :, None] - summed[..., None, :] + future).exp()


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
