"""A kit of networks that take microseconds, and the way its script is run where torch cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from hw_cost_models.cost import Workload
from hw_cost_models.kit.making import make_kit
from hw_cost_models.structure import structure_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hw_cost_models.cost import Item, Kind

WIDTHS = (8, 64, 256)
X = torch.randn(2, 4)
ITEMS: dict[str, Item] = {
    structure_key(module, (X,)): (module, (X,)) for module in (nn.Linear(4, width) for width in WIDTHS)
}
KEYS = list(ITEMS)
REFERENCE: dict[Kind, dict[str, str]] = {"forward": {"middle": KEYS[1], "widest": KEYS[2]}}
WORKLOAD = Workload(2, 1)


def export(items: Mapping[str, Item], folder: Path) -> dict[str, Path]:
    """Linear layers as ONNX files, without PyTorch's exporter, which takes seconds."""
    files = {key: folder / f"{number}.onnx" for number, key in enumerate(items)}
    for key, (module, (x,)) in items.items():
        write_product(files[key], module.weight.detach().numpy().T, x.shape[0])
    return files


def write_product(path: Path, weight: np.ndarray, rows: int, inputs: tuple[str, ...] = ("x",)) -> None:
    """The sum of the inputs, each (rows, n), times a weight (n, m)."""
    nodes = [helper.make_node("Sum", list(inputs), ["sum"]), helper.make_node("MatMul", ["sum", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, (rows, weight.shape[0])) for x in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (rows, weight.shape[1]))],
        [numpy_helper.from_array(np.ascontiguousarray(weight), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kit") / "kit.zip"
    make_kit(ITEMS, REFERENCE, path, export=export, space="toy", workloads=[WORKLOAD])
    return path


@pytest.fixture
def kit(zipped: Path, tmp_path: Path) -> Path:
    """The kit unpacked."""
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "kit"


class Script(Protocol):
    def __call__(self, *arguments: str, without: tuple[str, ...] = ()) -> subprocess.Popen[str]: ...


@pytest.fixture
def script(kit: Path) -> Script:
    """Starts the kit's script where a board's Python would."""

    def start(*arguments: str, without: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        return start_bare(kit, arguments, without)

    return start


def start_bare(kit: Path, arguments: Sequence[str], without: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Starts a kit's script in a Python that has neither torch nor anything else that a board lacks."""
    bare = kit.parent / "bare"
    bare.mkdir(exist_ok=True)
    for name in ("torch", "onnx", "pydantic", "scipy", "networkx", "nas", *without):
        (bare / f"{name}.py").write_text(f"raise ImportError('there is no {name} here')")
    return subprocess.Popen(
        [sys.executable, str(kit / "measure.py"), *arguments],
        cwd=kit.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(bare)},
    )
