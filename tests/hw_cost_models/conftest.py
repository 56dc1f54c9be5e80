"""Small networks that the tests of this folder share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Gated(nn.Module):
    """A feed-forward with a gate, without biases: (batch, length, width) in and out."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return y


class Attention(nn.Module):
    """Causal self-attention: (batch, length, width) in and out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out(y.transpose(1, 2).reshape(batch, length, width))
        return out


class Routed(nn.Module):
    """Two experts, one of them for each token: which rows an expert gets depends on the data."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, 2)
        self.experts = nn.ModuleList(nn.Linear(width, width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        chosen = self.router(rows).argmax(-1)
        y = torch.zeros_like(rows)
        for number, expert in enumerate(self.experts):
            (index,) = torch.where(chosen == number)
            y = y.index_add(0, index, expert(rows[index]))
        return y.view_as(x)


class LanguageModel(nn.Module):
    """Tokens (batch, length) to logits (batch, length, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, 16)
        self.mixer = Attention(16, 2)
        self.head = nn.Linear(16, 32)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        logits: Tensor = self.head(x + self.mixer(x))
        return logits


Examples = dict[str, tuple[nn.Module, tuple[Tensor, ...]]]


@pytest.fixture(scope="module")
def examples() -> Examples:
    """One of each, with inputs of batch 1 and length 6; those of width 16 share theirs."""
    torch.manual_seed(0)
    x, tokens = torch.randn(1, 6, 16), torch.randint(0, 32, (1, 6))
    return {
        "gated": (Gated(16, 32), (x,)),
        "attention": (Attention(16, 2), (x,)),
        "routed": (Routed(16), (x,)),
        "lm": (LanguageModel(), (tokens,)),
    }
