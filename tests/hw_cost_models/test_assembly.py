"""Assembled networks against exports of the whole: the same numbers, from the same operators."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops import scan

from hw_cost_models.assembly import Marked, assemble
from hw_cost_models.errors import HardwareCostError
from hw_cost_models.export import export_many
from hw_cost_models.export_cache import ExportCache
from hw_cost_models.structure import structure_key

if TYPE_CHECKING:
    from pathlib import Path

DYNAMIC = {0: "batch"}


class Frame(nn.Module):
    """Two places; the second takes a context beside its input."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.stem, self.first, self.second, self.head = nn.Linear(3, 4), first, second, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        z: Tensor = self.head(self.second(self.first(y), y))
        return z


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.linear(x) * torch.tanh(context)


class Sum(nn.Module):
    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return x + context


class Running(nn.Module):
    """A running sum over the batch, decayed by a weight from outside the body of its Scan."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        def step(state: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
            after = state * self.decay + own
            return after, after.clone()

        if torch.compiler.is_exporting():
            summed: Tensor = scan(step, torch.zeros(4), x)[1]
            return summed
        states = [torch.zeros(4)]
        for row in x:  # eagerly `scan` calls for the compiler, which fails in some processes
            states.append(step(states[-1], row)[0])
        return torch.stack(states[1:])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, onnx.ModelProto]:
    torch.manual_seed(0)
    x, y = torch.randn(2, 3), torch.randn(2, 4)
    relu, gate = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), Gate()
    frame = Frame(Marked("a.first", nn.Identity()), Marked("second", Sum()))
    whole = Frame(relu, gate)
    whole.stem, whole.head = frame.stem, frame.head
    items = {
        "frame": (frame, (x,)),
        "whole": (whole, (x,)),
        "relu": (relu, (y,)),
        "gate": (gate, (y, y.clone())),
    }
    files = export_many(items, tmp_path_factory.mktemp("parts"), DYNAMIC)
    return {name: onnx.load(path) for name, path in files.items()}


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(output)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_equals_the_export_of_the_whole(exported: dict[str, onnx.ModelProto]) -> None:
    model = assemble(exported["frame"], {"a.first": exported["relu"], "second": exported["gate"]})
    onnx.checker.check_model(model, full_check=True)
    for batch in (1, 5):
        x = np.random.default_rng(batch).normal(size=(batch, 3)).astype(np.float32)
        np.testing.assert_allclose(run(model, x), run(exported["whole"], x), atol=1e-6)
    operators = [Counter(node.op_type for node in m.graph.node) for m in (model, exported["whole"])]
    assert operators[0] == operators[1], "and no mark or stand-in is left"
    weights = [sum(int(np.prod(w.dims)) for w in m.graph.initializer) for m in (model, exported["whole"])]
    assert weights[0] == weights[1]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_parts_with_bodies_of_their_own(tmp_path: Path) -> None:
    """A Scan whose body takes a weight from outside, against a loop."""
    torch.manual_seed(1)
    x, y, running, gate = torch.randn(2, 3), torch.randn(2, 4), Running(), Gate()
    frame = Frame(Marked("a.first", nn.Identity()), Marked("second", Sum()))
    items = {"frame": (frame, (x,)), "running": (running, (y,)), "gate": (gate, (y, y.clone()))}
    models = {name: onnx.load(path) for name, path in export_many(items, tmp_path, DYNAMIC).items()}
    model = assemble(models["frame"], {"a.first": models["running"], "second": models["gate"]})
    onnx.checker.check_model(model, full_check=True)
    x = torch.randn(5, 3)
    with torch.no_grad():
        h, states = frame.stem(x), [torch.zeros(4)]
        for row in h:
            states.append(states[-1] * running.decay + row)
        expected = frame.head(gate(torch.stack(states[1:]), h))
    np.testing.assert_allclose(run(model, x.numpy()), expected, atol=1e-6)


def test_a_place_without_a_part_is_named(exported: dict[str, onnx.ModelProto]) -> None:
    with pytest.raises(HardwareCostError, match=r"'second'"):
        assemble(exported["frame"], {"a.first": exported["relu"]})


def test_parts_used_twice_do_not_share_weights(exported: dict[str, onnx.ModelProto]) -> None:
    frame = exported["frame"]
    model = assemble(frame, {"a.first": exported["relu"], "second": exported["gate"]})
    names = [w.name for w in model.graph.initializer]
    assert len(names) == len(set(names))
    assert any(name.startswith("a.first/") for name in names)


def test_exports_are_kept_and_damaged_ones_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(2, 3)
    item = (nn.Linear(3, 4), (x,))
    key = structure_key(*item)
    first = ExportCache(tmp_path, DYNAMIC).models({key: item})[key]
    (file,) = tmp_path.rglob("*.onnx")
    monkeypatch.setattr("hw_cost_models.export_cache.export_many", lambda *_: pytest.fail("exported again"))
    assert ExportCache(tmp_path, DYNAMIC).models({key: item})[key] == first
    monkeypatch.undo()
    file.write_bytes(file.read_bytes()[:-7])
    again = ExportCache(tmp_path, DYNAMIC).models({key: item})[key]
    assert again == first
    assert len(list(tmp_path.rglob("*.onnx"))) == 1


def test_another_layout_of_free_dimensions_is_another_export(tmp_path: Path) -> None:
    assert ExportCache(tmp_path, {0: "batch"}).folder != ExportCache(tmp_path, {0: "n"}).folder
