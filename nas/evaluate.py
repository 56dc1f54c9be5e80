"""Loss of networks on fixed batches, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hw_cost_models.evaluating import evaluating
from search_spaces import Architecture, Mixture, Task, bind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nas.progress import Progress
    from search_spaces.space import Batch


@torch.no_grad()
def evaluate(network: nn.Module, task: Task, batches: Sequence[Batch]) -> float:
    """Mean loss over the batches in evaluation mode, which is left as it was found."""
    with evaluating(network):
        losses = [task.loss(network(*inputs), target).item() for inputs, target in batches]
    return sum(losses) / len(losses)


def shared_loss(
    network: nn.Module, architecture: Architecture, task: Task, batches: Sequence[Batch]
) -> float:
    """Loss of an architecture with the supernet's shared weights."""
    return evaluate(bind(network, Mixture.of(architecture)), task, batches)


def shared_losses(
    network: nn.Module,
    architectures: Sequence[Architecture],
    task: Task,
    batches: Sequence[Batch],
    progress: Progress,
) -> list[float]:
    """The same of many."""
    losses = []
    progress.start(len(architectures))
    for architecture in architectures:
        losses.append(shared_loss(network, architecture, task, batches))
        progress.advance()
    return losses
