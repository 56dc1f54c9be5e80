"""Batch norms whose statistics are those of one architecture.

What a batch norm of a supernet has averaged are the activations of all that was sampled, not of one network.
`recalibrated` averages anew before an architecture is scored in shared weights: the post-statistics of Yu and
Huang 2019, "Universally Slimmable Networks", arXiv:1903.05134, section 3.2, which BigNAS (Yu et al. 2020,
arXiv:2003.11142) takes over. `by_batch` takes those of the batch at hand, where a step is no score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hw_cost_models.evaluating import evaluating
from search_spaces.elastic import altered
from search_spaces.view import view

if TYPE_CHECKING:
    from collections.abc import Callable

    from search_spaces import Task

BATCH = 64
BATCHES = 4
"""256 training examples, of which an image has many positions."""


def recalibrated(network: nn.Module, task: Task) -> nn.Module:
    """A view whose batch norms have the mean statistics over the task's training batches; else all is shared.

    A network without batch norms is returned as it is, and asks for no batch.
    """
    made = _with(network, _unmeasured)
    if made is network:
        return network
    norms = [
        part for part in made.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None
    ]
    with torch.no_grad(), evaluating(made):
        for norm in norms:
            norm.training = True
        for inputs, _ in task.batches("train", BATCH, BATCHES):
            made(*inputs)
    return made


def by_batch(network: nn.Module) -> nn.Module:
    """A view whose batch norms normalise by the batch at hand, in evaluation too, and keep nothing of it."""
    return _with(network, lambda norm: altered(norm, running_mean=None, running_var=None))


def _with(network: nn.Module, twin: Callable[[_BatchNorm], nn.Module]) -> nn.Module:
    def instead(_: str, module: nn.Module) -> nn.Module | None:
        keeps = isinstance(module, _BatchNorm) and module.running_mean is not None
        return twin(module) if keeps else None  # type: ignore[arg-type]

    return view(network, instead)


def _unmeasured(norm: _BatchNorm) -> _BatchNorm:
    """A twin that has seen nothing yet, and weighs all batches that it will see alike."""
    fresh = {name: torch.empty_like(buffer) for name, buffer in norm.named_buffers()}
    made = altered(norm, momentum=None, **fresh)
    made.reset_running_stats()
    return made
