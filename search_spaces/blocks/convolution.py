"""A gated short convolution: the cheapest mixer that knows the order of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from search_spaces.decoding import State


class GatedConvolution(nn.Module):
    """out(gate · conv(input_gate · value)), depthwise over `kernel` tokens. (batch, length, width) -> same.

    The double-gated short convolution of LFM2 (Liquid AI 2025, arXiv:2511.23404), after Hyena (Poli et al.
    2023, arXiv:2302.10866). Raises SearchSpaceError for a kernel below one.
    """

    def __init__(self, width: int, kernel: int = 4) -> None:
        super().__init__()
        if kernel < 1:
            raise SearchSpaceError(f"a kernel holds at least the token itself, got {kernel}")
        self.kernel = kernel
        self.gates = nn.Linear(width, 3 * width, bias=False)
        self.taps = nn.Parameter(torch.randn(kernel, width) * kernel**-0.5)  # the last one is the token's own
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.prefill(x)[0]

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt: its output, and the inputs that the next token sees."""
        input_gate, gate, value = self.gates(x).chunk(3, dim=-1)
        padded = F.pad(input_gate * value, (0, 0, self.kernel - 1, 0))
        return self.out(gate * convolve(padded, self.taps)), (padded[:, x.shape[1] :],)

    state_names = ("inputs",)

    def state(self, batch: int, context: int = 0) -> State:
        """The last gated inputs, (batch, kernel - 1, width); zeros stand for what was before the first."""
        return (self.taps.new_zeros(batch, self.kernel - 1, self.taps.shape[1]),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One more token: (batch, 1, width) -> the same, and the inputs that the next one sees."""
        input_gate, gate, value = self.gates(x).chunk(3, dim=-1)
        seen = torch.cat((state[0], input_gate * value), dim=1)
        mixed = (seen * self.taps).sum(dim=1, keepdim=True)
        return self.out(gate * mixed), (seen[:, 1:],)


class CentredConvolution(nn.Module):
    """As `GatedConvolution`, over the token and as many on either side of it. (batch, length, width) -> same.

    Raises SearchSpaceError for a kernel that has no middle.
    """

    def __init__(self, width: int, kernel: int = 5) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise SearchSpaceError(f"a centred kernel holds an odd number of tokens, got {kernel}")
        self.kernel = kernel
        self.gates = nn.Linear(width, 3 * width, bias=False)
        self.taps = nn.Parameter(torch.randn(kernel, width) * kernel**-0.5)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        input_gate, gate, value = self.gates(x).chunk(3, dim=-1)
        padded = F.pad(input_gate * value, (0, 0, self.kernel // 2, self.kernel // 2))
        y: Tensor = self.out(gate * convolve(padded, self.taps))
        return y


def convolve(padded: Tensor, taps: Tensor) -> Tensor:
    """Depthwise, without padding: (batch, length + kernel - 1, width) -> (batch, length, width).

    `taps`, (kernel, width), are in the order of the tokens. A sum of shifted copies: at a few taps it beats
    conv1d, forward and backward, on a CPU.
    """
    kernel = taps.shape[0]
    length = padded.shape[1] - kernel + 1
    mixed = padded[:, kernel - 1 :] * taps[-1]
    for tap in range(kernel - 1):
        mixed = torch.addcmul(mixed, padded[:, tap : tap + length], taps[tap])
    return mixed
