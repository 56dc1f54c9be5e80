"""Losses without training, against the plain network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nas.evaluate import evaluate, shared_loss
from search_spaces import select
from tests.nas.toys import Toy, ToyTask, architectures


def test_the_mean_of_the_batches_in_evaluation_mode() -> None:
    network = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4), nn.BatchNorm1d(4))
    network.train()
    network[1].eval()  # frozen by its owner
    before, task = copy.deepcopy(network.state_dict()), ToyTask()
    batches = list(task.batches("validation", 5, 3))
    linear = network[1]
    with torch.no_grad():
        expected = [((linear(x) / (1 + 1e-5) ** 0.5 - target) ** 2).mean().item() for (x,), target in batches]
    assert evaluate(network, task, batches) == pytest.approx(sum(expected) / 3)
    assert [module.training for module in network] == [True, False, True]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_shared_loss_is_that_of_the_selected_network() -> None:
    network, task = Toy(), ToyTask()
    batches = list(task.batches("validation", 5, 2))
    network.train()
    for taken in architectures():
        plain = evaluate(select(network, taken), task, batches)
        assert shared_loss(network, taken, task, batches) == plain
    assert all(module.training for module in network.modules())
