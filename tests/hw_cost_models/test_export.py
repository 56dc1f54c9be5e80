"""Exported files compute what the modules compute, at other batches and lengths too."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from hw_cost_models.errors import HardwareCostError
from hw_cost_models.export import _batches, export_many, export_onnx, feeds

_LM = {0: "batch", 1: "length"}


def _run(path: Path, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [torch.as_tensor(value) for value in session.run(None, feeds(path, inputs))]


def _dimensions(value: onnx.ValueInfoProto) -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


class _Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x + y, x - y


_Items = dict[str, tuple[nn.Module, tuple[Tensor, ...]]]


@pytest.fixture(scope="module")
def many(examples: _Items, tmp_path_factory: pytest.TempPathFactory) -> tuple[_Items, dict[str, Path]]:
    (x,) = examples["gated"][1]
    items: _Items = {
        **examples,
        "a/b.c": (nn.Identity(), (x,)),
        "two": (_Two(), (x, torch.randn(1, 6, 16))),
        "same twice": (_Two(), (x, x)),
    }
    return items, export_many(items, tmp_path_factory.mktemp("many"), _LM)


@pytest.mark.parametrize("name", ["gated", "attention", "routed", "lm", "a/b.c", "two", "same twice"])
def test_each_of_many_agrees_at_another_size(many: tuple[_Items, dict[str, Path]], name: str) -> None:
    items, files = many
    module, inputs = items[name]
    wide = {id(t): torch.cat([t.flip(1), t], 1).repeat(3, *[1] * (t.dim() - 1)) for t in inputs}
    for sized in (inputs, tuple(wide[id(t)] for t in inputs)):
        expected = module.eval()(*sized)
        expected = [expected] if isinstance(expected, Tensor) else list(expected)
        for got, want in zip(_run(files[name], sized), expected, strict=True):
            torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_files_are_whole_and_say_nothing_of_this_machine(many: tuple[_Items, dict[str, Path]]) -> None:
    for path in many[1].values():
        onnx.checker.check_model(str(path), full_check=True)
        assert b"site-packages" not in path.read_bytes()


def test_one_network(examples: _Items, tmp_path: Path) -> None:
    path = tmp_path / "lm.onnx"
    network, inputs = examples["lm"]
    network.train()
    export_onnx(network, inputs, path, dynamic=_LM, input_names=["tokens"], output_names=["logits"])
    assert all(part.training for part in network.modules())
    model = onnx.load(str(path))
    assert _dimensions(model.graph.input[0]) == ["batch", "length"]
    assert _dimensions(model.graph.output[0]) == ["batch", "length", 32]
    assert [entry.name for entry in tmp_path.iterdir()] == ["lm.onnx"]


def test_nothing_to_export(tmp_path: Path) -> None:
    assert export_many({}, tmp_path, _LM) == {}


class _Stubborn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    x = torch.ones(2, 2)
    with pytest.raises(HardwareCostError, match=r"bad: _Stubborn cannot be exported: \w+"):
        export_many({"good": (nn.Identity(), (x,)), "bad": (_Stubborn(), (x,))}, tmp_path, {})
    with pytest.raises(HardwareCostError, match=r"^_Stubborn cannot be exported: \w+"):
        export_onnx(_Stubborn(), (x,), tmp_path / "x.onnx", dynamic={}, input_names="x", output_names="y")


def test_batches_keep_the_order_and_stay_small() -> None:
    def item(modules: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
        return nn.Sequential(*(nn.Identity() for _ in range(modules - 1))), ()

    sizes = {"a": 10, "b": 20, "c": 1, "huge": 500, "d": 29, "e": 1}
    batches = _batches({name: item(size) for name, size in sizes.items()})
    assert batches == [["a", "b"], ["c"], ["huge"], ["d", "e"]]


def test_no_path_of_this_machine_is_in_a_file_nor_in_the_bodies_of_its_loops(tmp_path: Path) -> None:
    class RunningSum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            _, sums = scan(lambda total, row: (total + row, total + row), x.new_zeros(x.shape[1:]), x)
            return sums

    path = tmp_path / "loop.onnx"
    x = torch.randn(4, 3)
    export_onnx(RunningSum(), (x,), path, dynamic={0: "batch"}, input_names=["x"], output_names=["y"])
    assert [node.op_type for node in onnx.load(path).graph.node].count("Scan") == 1
    assert str(Path(__file__).parent).encode() not in path.read_bytes()
    (made,) = _run(path, (torch.ones(2, 3),))
    assert made[:, 0].tolist() == [1, 2]
