"""The growth of a process against hand arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.device import load_device
from hw_cost_models.measure import measure


class Widening(nn.Module):
    """Two tensors of 32 MB are alive at once: before and after the sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(64, 2000)
        self.down = nn.Linear(2000, 64)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(torch.sigmoid(self.up(x)))
        return y


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="elsewhere only peaks are told")
def test_what_pytorch_takes_beside_the_weights() -> None:
    device = load_device("local").with_runtime("pytorch")
    items = {"net": (Widening(), (torch.ones(4000, 64),))}
    found = measure(items, {}, device, rounds=1, seed=0, memory=items)
    assert found.weight_bytes == {"net": (2 * 64 * 2000 + 2000 + 64) * 4}
    assert found.arena_bytes["net"] == pytest.approx(2 * 4000 * 2000 * 4, abs=6e6)
