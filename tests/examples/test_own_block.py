"""A block of one's own is right, is priced beside the others, and is searched."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_block.py"


def test_the_block_means_what_was_seen() -> None:
    block = runpy.run_path(str(EXAMPLE))["RunningMean"](4)
    x = torch.randn(2, 5, 4)
    means = torch.stack([x[:, : i + 1].mean(dim=1) for i in range(5)], dim=1)
    expected = block.project(torch.cat([x, means], dim=-1))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.measured
@pytest.mark.timeout(900)
def test_it_is_priced_and_searched(said_by: Callable[[str], str]) -> None:
    out = said_by("own_block.py")
    priced = re.findall(r"^ *(\d) running mean +([\d.]+) ms +(\d+) parameters$", out, re.MULTILINE)
    assert [choice for choice, *_ in priced] == ["1", "3", "5"]
    assert all(float(latency) > 0 for _, latency, _ in priced)
    assert {int(count) for *_, count in priced} == {64 + 2 * 64 * 64 + 64}
    assert out.splitlines()[-1].startswith("within ")
