"""Options that cannot be exported, or have no formula: named before any training, on every device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

import nas
from hw_cost_models.cost import Workload
from hw_cost_models.device import load_device
from nas.pricing import assembly_of, price_on
from nas.progress import Silent
from search_spaces import Choice, SearchSpaceError
from tests.nas.toys import EFFORT, WIDTH, ToyTask, toy_space

if TYPE_CHECKING:
    from pathlib import Path


class Branching(nn.Module):
    """What it does depends on the values that it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.sum() > 0 else x


class Decomposed(nn.Module):
    """An operator that nothing here has a formula for."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.linalg.svdvals(x)[:1]


def _network(option: nn.Module) -> nn.Module:
    return nn.Sequential(Choice({"linear": nn.Linear(WIDTH, WIDTH), "mine": option}), nn.Linear(WIDTH, WIDTH))


@pytest.mark.parametrize("device", ["local", "raspberry-pi-5"])
def test_an_option_that_cannot_be_exported(device: str, tmp_path: Path) -> None:
    space = toy_space(_network(Branching()))
    with pytest.raises(
        SearchSpaceError, match=r"choice '0', option 'mine': Branching cannot be exp"
    ) as caught:
        nas.search(space, ToyTask(), tmp_path / "run", device=device, effort=EFFORT)
    assert "\n" not in str(caught.value)
    assert "take it out" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_option_without_a_formula() -> None:
    assembly = assembly_of(toy_space(_network(Decomposed())), Workload(batch=3))
    with pytest.raises(SearchSpaceError, match=r"choice '0', option 'mine': no formula for .*svd"):
        price_on(load_device("raspberry-pi-5"), assembly, "p50", 3, Silent())
