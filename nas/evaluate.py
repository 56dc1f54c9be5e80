"""Loss of networks on fixed batches, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hw_cost_models.evaluating import evaluating
from nas.batch_norms import recalibrated
from search_spaces import Architecture, CountsErrors, MeasuresOutputs, Mixture, Task, bind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nas.progress import Progress
    from search_spaces.space import Batch


def evaluate(network: nn.Module, task: Task, batches: Sequence[Batch]) -> float:
    """Mean loss over the batches in evaluation mode, which is left as it was found."""
    return _mean(network, task.loss, batches)


def error_rate(network: nn.Module, task: CountsErrors, batches: Sequence[Batch]) -> float:
    """Mean share of errors over the batches, in the same way."""
    return _mean(network, task.error, batches)


def metric(network: nn.Module, task: Task, batches: Sequence[Batch], loss: float) -> float:
    """The task's metric on these batches, `loss` being the mean loss over them."""
    return _mean(network, task.measure, batches) if isinstance(task, MeasuresOutputs) else task.metric(loss)


@torch.no_grad()
def _mean(network: nn.Module, measure: Callable[[Tensor, Tensor], Tensor], batches: Sequence[Batch]) -> float:
    with evaluating(network):
        figures = [measure(network(*inputs), target).item() for inputs, target in batches]
    return sum(figures) / len(figures)


def shared_loss(
    network: nn.Module, architecture: Architecture, task: Task, batches: Sequence[Batch]
) -> float:
    """Loss of an architecture with the supernet's shared weights, and batch norms of its own."""
    return evaluate(recalibrated(bind(network, Mixture.of(architecture)), task), task, batches)


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
