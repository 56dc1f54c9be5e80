"""A dead expert and an unbalanced router are provoked, and the page says so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.cost import Cost
from nas.bilevel import Bilevel
from nas.progress import Silent
from nas.report import RunRecord, render
from nas.report.experts import Router, effective, findings_of
from nas.supernet import Supernet
from nas.train import Training, train
from search_spaces import Choice
from search_spaces.blocks import MixtureOfExperts
from tests.nas.toys import EFFORT, WIDTH, ToyTask, new_run, toy_table

if TYPE_CHECKING:
    from pathlib import Path

Read = Callable[[str], Any]
HEALTHY = "No expert is dead and no router unbalanced."


class Routed(nn.Module):
    """(batch, width) -> the same; the routed block sees a one beside every row, which a router can go by."""

    def __init__(self) -> None:
        super().__init__()
        self.block = MixtureOfExperts(WIDTH + 1, 4, experts=4, active=2, balance=0.0)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(nn.functional.pad(x, (0, 1), value=1.0)[:, None])
        return y[:, 0, :WIDTH]


def trained(network: nn.Module, path: Path) -> list[dict[str, Any]]:
    run = new_run(path)
    task = ToyTask()
    validation = list(task.batches("validation", 16, 1))
    train(network, task, Training(12, 64, 0.001, 0), validation, run, "winner", Silent())
    return run.trajectory()


def section(text: str) -> str:
    return text.split('id="experts"')[1].split("</section>")[0]


def test_a_dead_expert_is_named(tmp_path: Path, read: Read) -> None:
    torch.manual_seed(0)
    network = Routed()
    with torch.no_grad():
        network.block.router.weight[2, -1] = -100.0  # never wins, and nothing balances
    text = render(RunRecord(trajectory=trained(network, tmp_path / "run")))
    told = "In the winner, block.router: expert 2 is dead, with less than a tenth of an even share."
    assert told in section(text)
    assert HEALTHY not in section(text)
    bands = {t["name"]: t["y"] for f in read(text).figures for t in f["data"] if "stackgroup" in t}
    assert bands["expert 2"] == [0.0] * 3
    assert [sum(values) for values in zip(*bands.values(), strict=True)] == pytest.approx([1.0] * 3, abs=1e-5)


def test_a_search_whose_supernet_lets_an_expert_die_says_so(tmp_path: Path) -> None:
    torch.manual_seed(0)
    routed = Routed()
    with torch.no_grad():
        routed.block.router.weight[0, -1] = -100.0
    choice = Choice({"routed": routed, "skip": nn.Identity()})
    network = nn.Sequential(choice, nn.Linear(WIDTH, WIDTH))
    costs = {("0", "routed"): Cost(latency_ms=1.0), ("0", "skip"): Cost()}
    table = replace(toy_table(), options=costs, nesting={"0": None})
    run = new_run(tmp_path / "run")
    supernet, effort = Supernet(network, table), replace(EFFORT, supernet_steps=40, batch_size=64)
    Bilevel(run, supernet, ToyTask(), table, {}, effort, 0, Silent()).train_weights()
    text = section(render(RunRecord(trajectory=run.trajectory())))
    assert "In the supernet, 0.routed.block.router: expert 0 is dead" in text


def test_an_unbalanced_router_is_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Routed()
    with torch.no_grad():
        network.block.router.weight[:2, -1] = 100.0  # always these two of four
    text = section(render(RunRecord(trajectory=trained(network, tmp_path / "run"))))
    assert "In the winner, block.router is unbalanced: its load is that of 2.0 experts out of 4." in text
    assert "experts 2 and 3 are dead" in text


def test_a_healthy_router_is_said_to_be(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Routed()
    with torch.no_grad():
        network.block.router.weight.copy_(torch.eye(4, WIDTH + 1))
    assert HEALTHY in section(render(RunRecord(trajectory=trained(network, tmp_path / "run"))))


def test_without_experts_the_section_says_so() -> None:
    assert "No mixture of experts has been trained" in section(render(RunRecord()))


def test_rivals_are_judged_and_not_drawn(read: Read) -> None:
    entries = [
        {"phase": "supernet", "step": 0, "experts": {"a<b>.router": [0.25, 0.25]}},
        {"phase": "train", "network": "best_random", "step": 0, "experts": {"c.router": [1.0, 0.0]}},
    ]
    text = render(RunRecord(trajectory=entries))
    assert "In the best random, c.router: expert 1 is dead" in section(text)
    assert "a&lt;b&gt;.router" in section(text)
    figures = [f for f in read(text).figures if "stackgroup" in f["data"][0]]
    assert [[t["y"] for t in f["data"]] for f in figures] == [[[0.25], [0.25], [0.5]]]
    assert "50.0 % skipped" in section(text)


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ([0.25, 0.25, 0.25, 0.25], []),
        ([0.05, 0.05], []),  # nine of ten are skipped, and the rest is even
        ([0.02, 0.02], ["96.0 % of its assignments to null experts"]),
        ([0.24, 0.24, 0.02], []),
        ([0.28, 0.28, 0.28, 0.16], []),
        ([0.33, 0.33, 0.33, 0.01], ["expert 3 is dead"]),
        ([0.7, 0.1, 0.1, 0.1], ["2.6 experts out of 4"]),
    ],
)
def test_findings(shares: list[float], told: list[str]) -> None:
    found = findings_of(Router("the winner", "p", [0.0], [shares]))
    assert len(found) == len(told)
    assert all(words in sentence for words, sentence in zip(told, found, strict=True))


def test_judged_is_where_it_ended() -> None:
    shares = [[1.0, 0.0]] * 6 + [[0.5, 0.5]] * 2
    assert Router("the winner", "p", [float(i) for i in range(8)], shares).lately == [0.5, 0.5]


def test_effective_experts_by_hand() -> None:
    """-(½ log ½ + 2 · ¼ log ¼) = 3/2 log 2, whatever the scale."""
    assert effective([0.2, 0.1, 0.1, 0.0]) == pytest.approx(2**1.5)
    assert effective([0.1] * 5) == pytest.approx(5)
    assert effective([1.0, 0.0]) == pytest.approx(math.exp(0))
