"""Statistics of one architecture against a plain copy of it that is reset and shown the same batches."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from nas.batch_norms import BATCH, BATCHES, by_batch, recalibrated
from nas.evaluate import evaluate, shared_loss
from search_spaces import Architecture, Choice, Mixture, bind, select
from tests.nas.toys import WIDTH, ToyTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search_spaces.space import Batch, Split

ARCHITECTURES = [Architecture({"0": first, "2": second}) for first in "ab" for second in ("normed", "skip")]


def supernet() -> nn.Sequential:
    """Batch norms inside of options and behind a choice, with averages of something else; one is frozen."""
    torch.manual_seed(0)

    def normed(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(width), nn.Tanh())

    network = nn.Sequential(
        Choice({"a": normed(WIDTH), "b": normed(WIDTH)}),
        nn.Sequential(nn.BatchNorm1d(WIDTH, momentum=0.3), nn.Dropout(0.5)),
        Choice({"normed": normed(WIDTH), "skip": nn.Identity()}),
        nn.BatchNorm1d(WIDTH, track_running_stats=False),
    )
    for name, buffer in network.named_buffers():
        buffer.fill_(7) if "running" in name else buffer.fill_(3)
    network.train()
    network[1].eval()
    return network


class Watched(ToyTask):
    asked: int = 0

    def batches(self, split: Split, size: int, count: int) -> Iterator[Batch]:
        assert (split, size, count) == ("train", BATCH, BATCHES)
        self.asked += 1
        return super().batches(split, size, count)


def naive(network: nn.Module, architecture: Architecture) -> nn.Module:
    """The architecture on its own, whose batch norms average over the training batches."""
    plain = select(network, architecture).eval()
    norms = [
        part for part in plain.modules() if isinstance(part, nn.BatchNorm1d) and part.track_running_stats
    ]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for (x,), _ in ToyTask().batches("train", BATCH, BATCHES):
            plain(x)
    return plain.eval()


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_statistics_are_those_of_the_architecture_alone(architecture: Architecture) -> None:
    network, task = supernet(), Watched()
    before = copy.deepcopy(network.state_dict())
    modes = [part.training for part in network.modules()]
    view = recalibrated(bind(network, Mixture.of(architecture)), task)
    expected = naive(network, architecture).state_dict()
    assert view.state_dict().keys() == expected.keys()
    for name, found in view.state_dict().items():
        torch.testing.assert_close(found, expected[name], msg=name)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert [part.training for part in network.modules()] == modes
    assert set(view.parameters()) <= set(network.parameters()), "weights are shared"
    assert task.asked == 1


def test_scores_are_of_such_networks() -> None:
    network, batches = supernet(), list(ToyTask().batches("validation", 5, 2))
    for architecture in ARCHITECTURES:
        expected = evaluate(naive(network, architecture), ToyTask(), batches)
        assert shared_loss(network, architecture, ToyTask(), batches) == pytest.approx(expected, rel=1e-5)


def test_without_batch_norms_nothing_is_asked_for() -> None:
    task, plain = Watched(), nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH))
    assert recalibrated(plain, task) is plain
    assert by_batch(plain) is plain
    assert task.asked == 0


def test_by_batch_is_the_forward_of_training_and_leaves_no_trace() -> None:
    network = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)).eval()
    before, x = copy.deepcopy(network.state_dict()), torch.randn(6, WIDTH)
    y = by_batch(network)(x)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    torch.testing.assert_close(y, copy.deepcopy(network).train()(x))
    assert not torch.allclose(y, network(x))
