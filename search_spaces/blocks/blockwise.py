"""What attention in blocks is made of: cut sequences, masks, one softmax over several sets of keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def into_blocks(part: Tensor, size: int) -> Tensor:
    """(batch, heads, length, features) -> (batch * heads, blocks, size, features), zeros at the end."""
    padded = F.pad(part, (0, 0, 0, -part.shape[2] % size))
    return torch.unflatten(padded.flatten(0, 1), 1, (-1, size))


def in_a_row(blocks: Tensor, batch: int, heads: int) -> Tensor:
    """(batch * heads, blocks, size, features) -> (batch, heads, blocks * size, features)."""
    return torch.unflatten(blocks, 0, (batch, heads)).flatten(2, 3)


def additive_mask(seen: Tensor, like: Tensor) -> Tensor:
    """What to add to the scores: nothing where a key is seen, minus infinity where it is not.

    For queries that all see something. A boolean mask allows for one that sees nothing, for which an exported
    graph looks through every weight for NaN.
    """
    return like.new_zeros(()).masked_fill(~seen, -torch.inf)


def scaled_scores(query: Tensor, keys: Tensor) -> Tensor:
    """(..., queries, features) and (..., keys, features) -> (..., queries, keys)."""
    scores: Tensor = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return scores


def joint_softmax(*scores: Tensor) -> tuple[Tensor, ...]:
    """One softmax over several sets of keys: the scores of each, (..., its keys), to its weights.

    The sets stay apart, so that none has to be copied behind another to be read together.
    """
    weights = torch.cat(scores, dim=-1).softmax(dim=-1)
    return weights.split_with_sizes([part.shape[-1] for part in scores], dim=-1)
