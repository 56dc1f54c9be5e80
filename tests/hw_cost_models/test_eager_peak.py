"""PyTorch's order beside a plan's, and what a process really takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hw_cost_models.eager_peak import eager_memory, weight_bytes
from hw_cost_models.memory import peak_memory
from hw_cost_models.trace import trace

_FLOAT = 4


def test_a_plan_can_do_with_less_than_python() -> None:
    network = nn.Sequential(*(layer for _ in range(3) for layer in (nn.Linear(64, 64), nn.ReLU())))
    inputs = (torch.ones(10, 64),)
    planned, eager = peak_memory(trace(network, inputs)), eager_memory(network, inputs)
    assert planned.activation_bytes == 2 * 10 * 64 * _FLOAT
    assert eager.activation_bytes == 3 * 10 * 64 * _FLOAT, "the caller's input stays alive"
    assert planned.weight_bytes == eager.weight_bytes == weight_bytes(network)


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    eager_memory(module, (torch.randn(3, 4),))
    assert module.training
    assert module[1].training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def network(width: str) -> object:
    """For the process below: a network with a peak that is mostly activations, and its forward."""
    module, inputs = _network(int(width))

    def run() -> None:
        with torch.no_grad():
            module(*inputs)

    return run


def _network(width: int) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    module = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, stride=2),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(width * 32 * 32, 8),
    )
    return module.eval(), (torch.randn(8, 3, 64, 64),)


@pytest.mark.measured
def test_within_a_tenth_of_what_a_process_takes() -> None:
    here = Path(__file__)
    path = os.pathsep.join([str(here.parent), str(here.parents[2])])
    measured = int(
        subprocess.run(
            [
                sys.executable,
                "-m",
                "hw_cost_models.runtimes.pytorch_memory",
                f"{here.stem}:network",
                "128",
                "1",
            ],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"},
        ).stdout
    )
    predicted = eager_memory(*_network(128)).peak_bytes
    assert 40e6 < measured < 200e6
    assert predicted == pytest.approx(measured, rel=0.1)
