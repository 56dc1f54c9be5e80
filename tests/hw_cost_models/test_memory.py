"""Peaks by brute force and by hand, and what a process really takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hw_cost_models.graph import Storage
from hw_cost_models.memory import eager_memory, peak_memory, weight_bytes
from hw_cost_models.trace import trace

_FLOAT = 4
_STEPS = 7

_storages = st.lists(
    st.tuples(st.integers(0, 9), st.integers(-1, _STEPS - 1), st.integers(0, 6)).map(
        lambda t: Storage(bytes=t[0], born=t[1], dies=min(t[1] + t[2], _STEPS))
    )
)


@given(storages=_storages)
def test_peak_against_looking_at_every_step(storages: list[Storage]) -> None:
    graph = nx.DiGraph(storages=tuple(storages), weight_bytes=5)
    graph.add_nodes_from((step, {"operator": f"op {step}"}) for step in range(_STEPS))
    alive = {t: sum(s.bytes for s in storages if s.born <= t <= s.dies) for t in range(-1, _STEPS)}
    profile = peak_memory(graph)
    assert profile.activation_bytes == max(alive.values())
    assert profile.peak_bytes == profile.activation_bytes + 5
    assert alive[profile.step] == profile.activation_bytes
    assert profile.operator == ("inputs" if profile.step < 0 else f"op {profile.step}")


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
