"""Which routers a step tells of, under which paths, and with what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.cost import Cost
from nas.bilevel import Bilevel
from nas.experts import EXPERTS_EVERY, watch_experts
from nas.progress import Silent
from nas.steps import weight_step
from nas.supernet import Supernet
from nas.train import Training, make_optimizer, train
from search_spaces import Architecture, Choice, Mixture, select
from search_spaces.blocks import MixtureOfExperts
from tests.nas.toys import EFFORT, WIDTH, ToyTask, new_run, toy_table

if TYPE_CHECKING:
    from pathlib import Path

    from nas.run import Run


class Lengthened(nn.Module):
    """(batch, width) -> the same, by blocks that want a length."""

    def __init__(self) -> None:
        super().__init__()
        large = MixtureOfExperts(WIDTH, 3, 4, 2)
        small = nn.Sequential(nn.Linear(WIDTH, WIDTH), MixtureOfExperts(WIDTH, 2, 2, 1, null=1))
        self.first = Choice({"large": large, "small": small, "skip": nn.Identity()})
        self.second = large  # at two places: its path is the first

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x[:, None]))
        return y[:, 0]


PATHS = {"large": "first.large.router", "small": "first.small.1.router"}


def _mixture(option: str) -> Mixture:
    return Mixture.of(Architecture({"first": option}))


def test_routers_that_ran_are_told_by_their_paths_in_the_network() -> None:
    supernet, x = Supernet(Lengthened()), torch.randn(6, WIDTH)
    for option, ran in {"small": {PATHS["large"], PATHS["small"]}, "skip": {PATHS["large"]}}.items():
        with watch_experts(supernet.network, 0) as told:
            supernet((x,), _mixture(option))
        shares = told["experts"]
        assert shares.keys() == ran
        assert sum(shares[PATHS["large"]]) == pytest.approx(1, abs=1e-5), "shares are rounded"
        assert len(shares[PATHS["large"]]) == 4
    with watch_experts(supernet.network, 1) as told:
        supernet((x,), _mixture("small"))
    assert told == {}, "only every so many steps"


def test_null_experts_got_the_rest() -> None:
    block = MixtureOfExperts(WIDTH, 2, 2, 1, null=1)
    with torch.no_grad():
        block.router.weight.copy_(torch.eye(3, WIDTH))
    x = torch.eye(3, WIDTH)[[0, 2, 2, 1]]  # to expert 0, null, null, expert 1
    with watch_experts(block, 0) as told:
        block(x[None])
    assert told == {"experts": {"router": [0.25, 0.25]}}


class Mirrored(nn.Module):
    """One block, called twice: on the input and on its mirror image."""

    def __init__(self) -> None:
        super().__init__()
        self.block = MixtureOfExperts(2, 2, experts=2, active=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x) + self.block(x.flip(-1))
        return y


def test_a_router_that_ran_twice_tells_the_mean() -> None:
    network = Mirrored()
    with torch.no_grad():
        network.block.router.weight.copy_(torch.eye(2))
    with watch_experts(network, 0) as told:
        network(torch.tensor([[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]))
    assert told == {"experts": {"block.router": [0.5, 0.5]}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(tmp_path / "run")


def test_a_training_records_every_few_steps(run: Run) -> None:
    plain = select(Lengthened(), Architecture({"first": "small"}))
    task = ToyTask()
    validation = list(task.batches("validation", 8, 1))
    train(plain, task, Training(2 * EXPERTS_EVERY, 8, 0.01, 0), validation, run, "winner", Silent())
    told = {line["step"]: line["experts"] for line in run.trajectory() if "experts" in line}
    assert list(told) == [0, EXPERTS_EVERY]
    assert all(shares.keys() == {"first.1.router", "second.router"} for shares in told.values())


def test_the_supernets_training_records_what_was_sampled(run: Run) -> None:
    costs = {
        ("first", name): Cost(latency_ms=ms) for name, ms in (("large", 2.0), ("small", 1.0), ("skip", 0.0))
    }
    table = replace(toy_table(), options=costs, nesting={"first": None})
    effort = replace(EFFORT, supernet_steps=8 * EXPERTS_EVERY)
    supernet = Supernet(Lengthened(), table)
    Bilevel(run, supernet, ToyTask(), table, {}, effort, 0, Silent()).train_weights()
    told = {line["step"]: line["experts"] for line in run.trajectory() if "experts" in line}
    assert list(told) == list(range(0, 8 * EXPERTS_EVERY, EXPERTS_EVERY))
    assert set().union(*told.values()) == set(PATHS.values())


def test_what_the_teacher_did_is_not_told() -> None:
    supernet, task = Supernet(Lengthened()), ToyTask()
    batch = task.sample("train", 8, torch.Generator().manual_seed(0))
    optimizer = make_optimizer(supernet.weights(), 0.01)
    with watch_experts(supernet.network, 0) as told:
        weight_step(supernet, task, batch, _mixture("skip"), _mixture("small"), optimizer)
    assert told["experts"].keys() == {PATHS["large"]}
