"""Loss of networks on fixed batches, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hw_cost_models.evaluating import evaluating
from search_spaces import Architecture, CountsErrors, Mixture, SearchSpace, Task, bind, choices

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


@torch.no_grad()
def _mean(network: nn.Module, measure: Callable[[Tensor, Tensor], Tensor], batches: Sequence[Batch]) -> float:
    with evaluating(network):
        figures = [measure(network(*inputs), target).item() for inputs, target in batches]
    return sum(figures) / len(figures)


def try_one(space: SearchSpace, task: Task) -> None:
    """A forward and a loss, so that a task which does not fit the space is found before anything is priced.

    Raises what they raise: SearchSpaceError from the tasks of this package.
    """
    first = Architecture({path: choice.options[0] for path, choice in choices(space.network).items()})
    shared_loss(space.network, first, task, [task.sample("train", 1, torch.Generator().manual_seed(0))])


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
