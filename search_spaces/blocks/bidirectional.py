"""Both directions from two causal blocks, for encoders."""

from __future__ import annotations

from torch import Tensor, nn


class Bidirectional(nn.Module):
    """forwards(x) + what backwards makes of x from its end. (batch, length, width) -> the same.

    As Vision Mamba does with its state-space blocks (Zhu et al. 2024, arXiv:2401.09417, section 3.3). Each
    token then reads all before it through one block and all after it through the other.

    The two blocks, which must not be used elsewhere, lose their decode step: a sequence that is read from its
    end has no next token.
    """

    def __init__(self, forwards: nn.Module, backwards: nn.Module) -> None:
        super().__init__()
        self.forwards = forwards
        self.backwards = backwards
        for block in (forwards, backwards):
            vars(block)["step"] = None  # no longer `decoding.Stateful`

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.forwards(x) + self.backwards(x.flip(1)).flip(1)
        return y
