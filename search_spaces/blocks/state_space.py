"""A selective state-space block: a state that each token decays and writes to as it sees fit.

Mamba-2 (Dao and Gu 2024, "Transformers are SSMs", arXiv:2405.21060), after Mamba (Gu and Dao 2023,
arXiv:2312.00752). Of each head, with a step Δ_t > 0, a value x_t, and B_t and C_t that all heads share:

    a_t = exp(-Δ_t exp(A))      S_t = a_t S_{t-1} + Δ_t x_t B_tᵀ      y_t = S_t C_t + D x_t

Computed chunk by chunk (section 6 there): inside a chunk as masked attention whose scores decay, across
chunks through the states at their borders. Every decay is the exponential of a sum of logarithms that are
negative: nothing is divided and nothing overflows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.chunks import into_chunks, pass_states
from search_spaces.blocks.convolution import convolve
from search_spaces.blocks.decay import Decay, decay_between
from search_spaces.blocks.residual import RMSNorm
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from search_spaces.decoding import State


class StateSpace(nn.Module):
    """Every token reads a decaying summary of all before it. (batch, length, width) -> the same.

    `expansion * width` inner features in `heads` heads, each with a state of `state_width` columns. `chunk`
    changes the speed and not the result. Raises SearchSpaceError for heads that do not divide the inner
    features, and for a state width, kernel or chunk below one.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        state_width: int = 64,
        expansion: int = 2,
        kernel: int = 4,
        chunk: int = 32,
    ) -> None:
        super().__init__()
        inner = expansion * width
        if heads < 1 or inner < 1 or inner % heads:
            raise SearchSpaceError(f"{inner} inner features do not split into {heads} heads")
        if min(state_width, kernel, chunk) < 1:
            raise SearchSpaceError(
                f"state width, kernel and chunk are at least one, got {state_width}, {kernel} and {chunk}"
            )
        self.heads = heads
        self.state_width = state_width
        self.kernel = kernel
        self.chunk = chunk
        self.inner = inner
        convolved = inner + 2 * state_width
        self.inputs = nn.Linear(width, inner + convolved + heads, bias=False)
        self.taps = nn.Parameter(torch.randn(kernel, convolved) * kernel**-0.5)
        self.bias = nn.Parameter(torch.zeros(convolved))
        self.decay = Decay(heads)
        self.skip = nn.Parameter(torch.ones(heads))
        self.norm = RMSNorm(inner)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.prefill(x)[0]

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt: its output, and the state that it leaves."""
        gate, mixed, steps, logarithms = self._project(x)
        padded = F.pad(mixed, (0, 0, self.kernel - 1, 0))
        value, key, query = self._activate(convolve(padded, self.taps))
        read, state = self._read(value * steps[..., None], key, query, logarithms)
        return self._finish(read, value, gate), (padded[:, x.shape[1] :], state)

    state_names = ("inputs", "state")

    def state(self, batch: int, context: int = 0) -> State:
        """What the convolution still sees and S, of the same size whatever the context.

        (batch, kernel - 1, inner + 2 state width), zeros for what was before the first token, and (batch,
        heads, head width, state width).
        """
        return (
            self.taps.new_zeros(batch, self.kernel - 1, self.taps.shape[1]),
            self.taps.new_zeros(batch, self.heads, self.inner // self.heads, self.state_width),
        )

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One more token, by the recurrence: (batch, 1, width) -> the same, and the state with it."""
        inputs, summary = state
        gate, mixed, steps, logarithms = self._project(x)
        seen = torch.cat((inputs, mixed), dim=1)
        value, key, query = self._activate((seen * self.taps).sum(dim=1, keepdim=True))
        decay = logarithms.exp()[:, 0, :, None, None]
        update = (value * steps[..., None])[:, 0, :, :, None] * key[:, :, None]
        summary = torch.addcmul(update, summary, decay)
        read = (summary.flatten(1, 2) @ query.transpose(1, 2)).reshape(value.shape)
        return self._finish(read, value, gate), (seen[:, 1:], summary)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gate, what is to be convolved, Δ and log a: (batch, length, features or heads)."""
        sizes = [self.inner, self.taps.shape[1], self.heads]
        gate, mixed, steps = torch.split(self.inputs(x), sizes, dim=-1)
        return gate, mixed, *self.decay(steps)

    def _activate(self, convolved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x, (batch, length, heads, head width), and B and C, (batch, length, state width)."""
        sizes = [self.inner, self.state_width, self.state_width]
        value, key, query = torch.split(F.silu(convolved + self.bias), sizes, dim=-1)
        return torch.unflatten(value, -1, (self.heads, -1)), key, query

    def _finish(self, read: Tensor, value: Tensor, gate: Tensor) -> Tensor:
        """From S_t C_t and x_t to the output, through the norm of what the gate lets pass."""
        y = torch.addcmul(read, value, self.skip[:, None]).flatten(2)
        mixed: Tensor = self.out(self.norm(y * F.silu(gate)))
        return mixed

    def _read(self, value: Tensor, key: Tensor, query: Tensor, logarithms: Tensor) -> tuple[Tensor, Tensor]:
        """S_t C_t for every token, shaped as the values, which are Δ x here; and the state after the last.

        The tokens that fill the last chunk neither decay the state nor write to it.
        """
        length = value.shape[1]
        summed = into_chunks(logarithms, self.chunk).cumsum(dim=2)  # (batch, chunks, chunk, heads)
        value, key, query = (into_chunks(part, self.chunk) for part in (value, key, query))
        to_the_end = (summed[:, :, -1:] - summed).exp()
        updates = (value * to_the_end[..., None]).flatten(3).transpose(2, 3) @ key
        first = self.state(value.shape[0])[1]
        whole = summed[:, :, -1, :, None, None].exp()
        before, last = pass_states(
            _advance, first, whole, updates.reshape(*updates.shape[:2], *first.shape[1:])
        )
        earlier = (query @ before.flatten(2, 3).transpose(2, 3)).reshape(value.shape)
        inside = _attend(value.transpose(2, 3), key, query, summed.transpose(2, 3)).transpose(2, 3)
        return torch.addcmul(inside, earlier, summed.exp()[..., None]).flatten(1, 2)[:, :length], last


def _attend(value: Tensor, key: Tensor, query: Tensor, summed: Tensor) -> Tensor:
    """Inside each chunk: C_tᵀ B_s, decayed from s to t, over the values of all s up to t.

    (batch, chunks, heads, chunk, head width), two of (batch, chunks, chunk, state width), and summed
    logarithms, (batch, chunks, heads, chunk) -> as the values.
    """
    scores = query @ key.transpose(2, 3)
    return (scores[:, :, None] * decay_between(summed)) @ value


def _advance(state: Tensor, decay: Tensor, update: Tensor) -> Tensor:
    return state * decay + update
