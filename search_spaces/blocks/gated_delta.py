"""The gated delta rule: a state that decays, and in which a token overwrites what its key recalls.

Gated DeltaNet (Yang, Kautz and Hatamizadeh 2024, arXiv:2412.06464, eq. 10), here with S transposed. Of each
head, with a decay a_t and a writing strength b_t, both between 0 and 1, and a key of length one:

    S_t = a_t (I - b_t k_t k_tᵀ) S_{t-1} + b_t k_t v_tᵀ      y_t = S_tᵀ q_t

Computed chunk by chunk (Yang et al. 2024, arXiv:2406.06484, section 3, with gates as in the former, section
3.3). With γ_t the product of the decays from the chunk's first token to t, the state inside a chunk is

    S_t = γ_t S_0 + Σ_{s≤t} γ_t/γ_s k_s u_sᵀ      (I + N) U = diag(b) (V - diag(γ) K S_0)

where N is the strictly lower part of diag(b) K Kᵀ, decayed from s to t. U is linear in S_0, so a chunk maps
the state before it to the state after it by one product and one sum: all else is computed for all chunks at
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.blocks.attention import check_heads
from search_spaces.blocks.chunks import into_chunks, pass_states
from search_spaces.blocks.convolution import convolve
from search_spaces.blocks.decay import Decay, decay_between
from search_spaces.blocks.residual import RMSNorm
from search_spaces.blocks.triangular import unit_lower_inverse
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from search_spaces.decoding import State

_EPSILON = 1e-6
"""Keeps a key of length zero finite when it is divided by its length."""


class GatedDeltaNet(nn.Module):
    """Every token reads a memory that it and all before have overwritten. (batch, length, width) -> the same.

    Queries, keys and values come from a short causal convolution over `kernel` tokens. `chunk` changes the
    speed and not the result. Raises SearchSpaceError for heads that do not divide the width, and for a
    kernel or chunk below one.
    """

    def __init__(self, width: int, heads: int, kernel: int = 4, chunk: int = 32) -> None:
        super().__init__()
        check_heads(width, heads, heads)
        if min(kernel, chunk) < 1:
            raise SearchSpaceError(f"kernel and chunk are at least one, got {kernel} and {chunk}")
        self.heads = heads
        self.kernel = kernel
        self.chunk = chunk
        self.inputs = nn.Linear(width, 4 * width + 2 * heads, bias=False)
        self.taps = nn.Parameter(torch.randn(kernel, 3 * width) * kernel**-0.5)
        self.decay = Decay(heads)
        self.norm = RMSNorm(width // heads)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.prefill(x)[0]

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt: its output, and the state that it leaves."""
        mixed, gate, logarithms, strength = self._project(x)
        padded = F.pad(mixed, (0, 0, self.kernel - 1, 0))
        qkv = self._heads(convolve(padded, self.taps))
        read, memory = self._read(qkv, logarithms, strength)
        return self._finish(read, gate), (padded[:, x.shape[1] :], memory)

    state_names = ("inputs", "state")

    def state(self, batch: int, context: int = 0) -> State:
        """What the convolution still sees and S, of the same size whatever the context.

        (batch, kernel - 1, 3 width), zeros for what was before the first token, and (batch, heads, key width,
        value width).
        """
        features = self.norm.scale.shape[0]
        return (
            self.taps.new_zeros(batch, self.kernel - 1, self.taps.shape[1]),
            self.taps.new_zeros(batch, self.heads, features, features),
        )

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One more token, by the recurrence: (batch, 1, width) -> the same, and the state with it."""
        inputs, memory = state
        mixed, gate, logarithms, strength = self._project(x)
        seen = torch.cat((inputs, mixed), dim=1)
        qkv = self._heads((seen * self.taps).sum(dim=1, keepdim=True))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind()  # (batch, heads, 1, features) each
        memory = memory * logarithms.exp()[:, 0, :, None, None]
        change = (value - key @ memory) * strength[:, 0, :, None, None]
        memory = torch.addcmul(memory, key.transpose(2, 3), change)
        return self._finish((query @ memory).transpose(1, 2), gate), (seen[:, 1:], memory)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is to be convolved, the gate, log a and b: (batch, length, features or heads)."""
        width = self.out.in_features
        mixed, gate, decay, strength = torch.split(
            self.inputs(x), [3 * width, width, self.heads, self.heads], dim=-1
        )
        return mixed, gate, self.decay(decay)[1], strength.sigmoid()

    def _heads(self, convolved: Tensor) -> Tensor:
        """Queries and keys of length one, and values: (batch, length, 3, heads, features)."""
        split = torch.unflatten(F.silu(convolved), -1, (3, self.heads, -1))
        query_key = split[:, :, :2]
        length = torch.sqrt(query_key.square().sum(dim=-1, keepdim=True) + _EPSILON)
        return torch.cat((query_key / length, split[:, :, 2:]), dim=2)

    def _finish(self, read: Tensor, gate: Tensor) -> Tensor:
        """The norm of each head's output, gated."""
        mixed: Tensor = self.out(self.norm(read).flatten(2) * F.silu(gate))
        return mixed

    def _read(self, qkv: Tensor, logarithms: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """S_tᵀ q_t for every token, (batch, length, heads, features), and the state after the last.

        The tokens that fill the last chunk neither decay the state nor write to it.
        """
        query, key, value = into_chunks(qkv, self.chunk).permute(3, 0, 1, 4, 2, 5).unbind()
        strength = into_chunks(strength, self.chunk).transpose(2, 3)[..., None]
        summed = into_chunks(logarithms, self.chunk).cumsum(dim=2).transpose(2, 3)
        between = decay_between(summed)
        since_start = summed.exp()[..., None]
        to_the_end = (summed[..., -1:] - summed).exp()[..., None]
        written = key * strength
        inverse = unit_lower_inverse((written @ key.transpose(-1, -2) * between).tril(-1))
        # U = own - recall @ S_0
        recall_own = inverse @ torch.cat((written * since_start, value * strength), dim=-1)
        removal, update = ((key * to_the_end).transpose(-1, -2) @ recall_own).chunk(2, dim=-1)
        identity = torch.eye(key.shape[-1], dtype=key.dtype, device=key.device)
        transition = since_start[..., -1:, :] * identity - removal
        before, last = pass_states(_advance, self.state(qkv.shape[0])[1], transition, update)
        recall, own = recall_own.chunk(2, dim=-1)
        changes = own - recall @ before
        read = (query * since_start) @ before + (query @ key.transpose(-1, -2) * between) @ changes
        return read.transpose(2, 3).flatten(1, 2)[:, : qkv.shape[1]], last


def _advance(state: Tensor, transition: Tensor, update: Tensor) -> Tensor:
    return transition @ state + update
