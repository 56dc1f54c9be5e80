"""Losses without training, against the plain network."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from nas.evaluate import error_rate, evaluate, metric, shared_loss
from search_spaces import SyntheticTask, select
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


def test_errors_are_shares_of_what_is_scored() -> None:
    task = SyntheticTask("memorisation", 8, vocabulary=9)
    batches = list(task.batches("test", 3, 2))
    table = nn.Embedding(9, 9)
    with torch.no_grad():
        table.weight.zero_()[:, 5] = 1.0  # whatever the question, the answer is 5
    scored = [target for _, targets in batches for target in targets.flatten().tolist() if target >= 0]
    expected = sum(target != 5 for target in scored) / len(scored)
    assert 0 < expected < 1
    assert error_rate(table, task, batches) == pytest.approx(expected)


def test_a_metric_of_the_loss_or_of_the_outputs() -> None:
    @dataclass
    class Absolute(ToyTask):
        def measure(self, output: Tensor, target: Tensor) -> Tensor:
            return (output - target).abs().mean()

    network, task = Toy().layers[0].option("linear"), ToyTask()
    batches = list(task.batches("test", 5, 2))
    assert metric(network, task, batches, 3.0) == 1.5
    with torch.no_grad():
        expected = [(network(x) - target).abs().mean().item() for (x,), target in batches]
    assert metric(network, Absolute(), batches, 3.0) == pytest.approx(sum(expected) / 2)
