"""Predicted peaks of memory against those of fresh processes, in both runtimes and in training.

    python benchmarks/memory_accuracy.py [--only TEXT]

Measured is by how much a process grows over one that ran another small network; its heap gives back what is
freed (hw_cost_models.runtimes.heap). Within is: 10 % of networks over 50 MB, 2 MB below. How long it takes
does not matter to it, nor what else the machine does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from os import environ, pathsep
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from common import save
from memory_networks import CHECKPOINTED, NETWORKS, Block, blocks
from torch import nn

from hw_cost_models.eager_peak import eager_memory
from hw_cost_models.export import export_onnx, feeds
from hw_cost_models.onnxruntime_peak import onnxruntime_memory
from hw_cost_models.runtimes.process import Network, arena_and_resident
from hw_cost_models.training_memory import training_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memory_networks import Item

_LARGE = 50e6
_TOLERANCE = (0.1, 2e6)
"""A fraction of what is measured where that is large, bytes where it is small."""


@dataclass(frozen=True)
class Row:
    """One network in one runtime; bytes."""

    network: str
    runtime: str
    predicted: int
    measured: int
    arena_predicted: int = 0
    arena_measured: int = 0
    """Of ONNX Runtime alone; the rest of its peak is weights, inputs, outputs, and what it keeps itself."""

    @property
    def tolerated(self) -> float:
        """The error as a part of what is allowed."""
        relative, absolute = _TOLERANCE
        allowed = relative * self.measured if self.measured > _LARGE else absolute
        return abs(self.predicted - self.measured) / allowed

    def __str__(self) -> str:
        error = self.predicted - self.measured
        arena = f"  arena {self.arena_predicted / 1e6:.3f} of {self.arena_measured / 1e6:.3f}"
        return (
            f"{self.runtime:24} {self.network:30} predicted {self.predicted / 1e6:8.2f} measured "
            f"{self.measured / 1e6:8.2f} MB  {error / 1e6:+6.2f} MB {error / max(self.measured, 1):+7.1%}"
            f"{arena if self.arena_measured else ''}"
        )


def exported(item: Item, path: Path, name: str) -> dict[str, int]:
    """Write the network as it would be deployed, and say what its free dimensions are here."""
    module, inputs = item
    hybrid = name.startswith("hybrid-lm")
    dynamic = {0: "batch", 1: "length"} if hybrid else {0: "batch"}
    export_onnx(module, inputs, path, dynamic=dynamic, input_names=["input"], output_names=["output"])
    sizes = {dynamic[axis]: size for axis, size in enumerate(inputs[0].shape) if axis in dynamic}
    # How many tokens an expert gets depends on data: 2 of 4 experts take each, so on average it is half.
    return {**sizes, "NonZero": inputs[0].numel() // 2}


def in_onnxruntime(names: list[str]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        item = _everyday()
        dimensions = exported(item, path, "everyday")
        _, resident = arena_and_resident(Network("everyday", path, feeds(path, item[1])), threads=1)
        empty = resident - onnxruntime_memory(path, dimensions).peak_bytes
        for name in names:
            item = NETWORKS[name]()
            dimensions = exported(item, path, name)
            memory = onnxruntime_memory(path, dimensions)
            arena, resident = arena_and_resident(Network(name, path, feeds(path, item[1])), threads=1)
            row = Row(name, "onnxruntime", memory.peak_bytes, resident - empty, memory.arena_bytes, arena)
            print(row, flush=True)
            yield row


def _everyday() -> Item:
    """Small, of the usual operators: it makes the runtime read in the code that most networks need."""
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(2))
    return nn.Sequential(*layers, nn.Linear(64, 64), Block(64, 1)).eval(), (torch.randn(1, 3, 16, 16),)


def in_pytorch(names: list[str]) -> Iterator[Row]:
    for name in names:
        yield _grown("forward", name, "pytorch", lambda item: eager_memory(*item).peak_bytes)
        yield _grown("training", name, "training", lambda item: training_memory(*item).peak_bytes)
        if blocks(NETWORKS[name]()[0]):
            yield _grown("training", CHECKPOINTED + name, "training", _checkpointed)


def _checkpointed(item: Item) -> int:
    return training_memory(*item, checkpointed=blocks(item[0])).peak_bytes


def _grown(function: str, name: str, runtime: str, predict: Callable[[Item], int]) -> Row:
    command = [f"memory_networks:{function}", name, "1"]
    measured = subprocess.run(
        [sys.executable, "-m", "hw_cost_models.runtimes.pytorch_memory", *command],
        check=True,
        stdout=subprocess.PIPE,
        env={**environ, "PYTHONPATH": pathsep.join(sys.path)},
    ).stdout
    row = Row(name, runtime, predict(NETWORKS[name.removeprefix(CHECKPOINTED)]()), int(measured))
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="networks with this in their name")
    arguments = parser.parse_args()
    names = [name for name in NETWORKS if arguments.only in name]
    rows = sorted([*in_onnxruntime(names), *in_pytorch(names)], key=lambda row: -row.tolerated)
    print("\nworst first")
    for row in rows:
        print(row)
    within = sum(row.tolerated <= 1 for row in rows)
    print(f"\n{within} of {len(rows)} within 10 % over 50 MB, 2 MB below")
    if not arguments.only:
        save("memory_accuracy", {"within": within, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
