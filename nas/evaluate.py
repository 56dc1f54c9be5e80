"""Loss of networks on fixed batches, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from search_spaces import Architecture, Mixture, Task, bind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces.space import Batch


@torch.no_grad()
def evaluate(network: nn.Module, task: Task, batches: Sequence[Batch]) -> float:
    """Mean loss over the batches; the network's mode is left as it was found."""
    training = network.training
    network.eval()
    losses = [task.loss(network(*inputs), target).item() for inputs, target in batches]
    network.train(training)
    return sum(losses) / len(losses)


def shared_loss(
    network: nn.Module, architecture: Architecture, task: Task, batches: Sequence[Batch]
) -> float:
    """Loss of an architecture with the supernet's shared weights."""
    network.eval()
    return evaluate(bind(network, Mixture.of(architecture)), task, batches)
