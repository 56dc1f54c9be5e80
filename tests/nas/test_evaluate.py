"""Losses without training, against the plain network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nas.evaluate import error_rate, evaluate, shared_loss, try_one
from search_spaces import LabelledText, SearchSpaceError, SyntheticTask, hybrid_lm, select
from tests.nas.toys import Toy, ToyTask, architectures, toy_space


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


def test_a_task_that_does_not_fit_the_space_is_found_in_one_step() -> None:
    space = toy_space()
    before = copy.deepcopy(space.network.state_dict())
    try_one(space, ToyTask())
    assert all(torch.equal(before[name], value) for name, value in space.network.state_dict().items())
    with pytest.raises(SearchSpaceError, match=r"'python-packages' .* gives \(1, 8, 256\)"):
        try_one(hybrid_lm(layers=1), LabelledText(length=8))
