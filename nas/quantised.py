"""Before and after: what a trained network loses where it computes in integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hw_cost_models.evaluating import evaluating
from nas.evaluate import evaluate, metric
from search_spaces.quantised import EightBits, in_floats, quantised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces import Task
    from search_spaces.space import Batch

BATCH, BATCHES = 8, 16
"""Training examples that tell how far the inputs of layers range."""


def in_precisions(network: nn.Module, task: Task, test: Sequence[Batch]) -> dict[str, float]:
    """The metric on test data: `as_shipped`, in `fp32`, and with all in `int8`, by the same weights.

    So any two networks can be compared after the same treatment, whatever each was trained in. The ranges of
    the third are those of training batches, after training.
    """
    floats = in_floats(network)
    forms = {"as_shipped": network, "fp32": floats, "int8": calibrated(quantised(floats, "int8"), task)}
    return {name: metric(form, task, test, evaluate(form, task, test)) for name, form in forms.items()}


def calibrated(network: nn.Module, task: Task) -> nn.Module:
    """The network itself, whose layers of eight bits have seen training batches."""
    with torch.no_grad(), evaluating(network):
        for part in network.modules():
            part.training = isinstance(part, EightBits)
        for inputs, _ in task.batches("train", BATCH, BATCHES):
            network(*inputs)
    return network
