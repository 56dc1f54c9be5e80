"""The growth of a process that takes what we know it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

_MEGABYTE = 250_000
"""Of floats."""


def takes(megabytes: str) -> Callable[[], None]:
    """Half of it held, half of it made while running; as much again while it is built."""
    half = int(megabytes) // 2 * _MEGABYTE
    torch.ones(2 * half)
    held = torch.ones(half)

    def run() -> None:
        torch.add(held, 1)

    return run


@pytest.mark.measured
@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells the peak of a part of a process")
def test_growth_by_what_is_taken() -> None:
    here = Path(__file__)
    path = os.pathsep.join([str(here.parent), str(here.parents[3])])
    done = subprocess.run(
        [sys.executable, "-m", "hw_cost_models.runtimes.pytorch_memory", f"{here.stem}:takes", "80", "1"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"},
    )
    assert int(done.stdout) == pytest.approx(80e6, abs=2e6)
