"""Classification: loss, distillation, errors and bits of tasks whose targets are classes."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from search_spaces.errors import SearchSpaceError

IGNORED = -100
"""The target of a place that is not scored: PyTorch's own for cross-entropy."""


def divergence(output: Tensor, taught: Tensor, target: Tensor) -> Tensor:
    """KL(taught ‖ output) of logits (..., classes): the mean over the scored targets (...), in nats."""
    scored = target != IGNORED
    student, teacher = (logits[scored].log_softmax(dim=-1) for logits in (output, taught.detach()))
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)


class Classification:
    """What such tasks share. Outputs are logits (..., classes or more), targets class indices (...).

    Means are over the targets that are scored; a target that is IGNORED is not.
    """

    name: str
    classes: int
    """How many a target tells apart: tokens, or kinds of text."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy in nats. Raises SearchSpaceError for an output that the task cannot score."""
        if output.shape[:-1] != target.shape or output.shape[-1] < self.classes:
            needed = ", ".join(map(str, (*target.shape, self.classes)))
            raise SearchSpaceError(
                f"task {self.name!r} scores logits of shape ({needed}), and the network gives "
                f"{tuple(output.shape)}: take a space that is for such a task"
            )
        return F.cross_entropy(output.flatten(0, -2), target.flatten(), ignore_index=IGNORED)

    def distillation(self, output: Tensor, taught: Tensor, target: Tensor) -> Tensor:
        """KL(taught ‖ output), the mean in nats; both are logits."""
        return divergence(output, taught, target)

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """The share of scored targets that the largest logit misses, between 0 and 1."""
        wrong = output.argmax(dim=-1) != target
        return wrong[target != IGNORED].float().mean()

    def metric(self, loss: float) -> float:
        """Nats to bits."""
        return loss / math.log(2)
