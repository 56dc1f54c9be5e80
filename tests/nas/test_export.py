"""The exported file says what PyTorch says, or there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from nas import export
from nas.errors import VerificationError
from nas.export import TOLERANCE, check_parity, export_network
from search_spaces import SearchSpace, select
from search_spaces.blocks.sparse import SparseLinear, largest
from tests.nas.toys import Toy, architecture, toy_inputs, toy_space

if TYPE_CHECKING:
    from pathlib import Path

SPACE = toy_space()


def _plain() -> nn.Module:
    return select(Toy(), architecture("tanh.x2", "nested", "wide"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path, export.Parity]:
    folder = tmp_path_factory.mktemp("exported")
    network, path = _plain(), folder / "winner.onnx"
    network.train()
    parity = export_network(network, SPACE, (1, 8), path)
    assert [f.name for f in folder.iterdir()] == ["winner.onnx"], "no draft is left"
    return network, path, parity


def test_the_file_computes_what_the_network_does(exported: tuple[nn.Module, Path, export.Parity]) -> None:
    network, path, _ = exported
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path))
    for batch in (1, 2, 7):
        (x,) = toy_inputs(batch, 0)
        (found,) = session.run(None, {"input": x.numpy()})
        np.testing.assert_allclose(found, network(x).detach().numpy(), atol=1e-5)


def test_parity_is_measured(exported: tuple[nn.Module, Path, export.Parity]) -> None:
    network, path, parity = exported
    assert parity.shapes[0] == (1, 8)
    assert len({batch for batch, _ in parity.shapes}) > 2
    assert {length for _, length in parity.shapes} == {8}, "the file takes no other"
    assert 0 <= parity.max_difference < 1e-5
    session = onnxruntime.InferenceSession(str(path))
    worst = 0.0
    for shape in parity.shapes:
        (x,) = toy_inputs(*shape)
        (found,) = session.run(None, {"input": x.numpy()})
        worst = max(worst, float(np.abs(found - network(x).detach().numpy()).max()))
    assert parity.max_difference == worst
    assert parity.to_dict()["shapes"] == [list(shape) for shape in parity.shapes]


def test_other_lengths_are_compared_where_they_are_free(tmp_path: Path) -> None:
    space = SearchSpace("rows", Toy(), lambda *shape: (torch.ones(shape),), {0: "batch", 1: "length"})
    parity = export_network(nn.Sequential(nn.Tanh()), space, (1, 8), tmp_path / "winner.onnx")
    assert len({length for _, length in parity.shapes}) > 2
    session = onnxruntime.InferenceSession(tmp_path / "winner.onnx")
    assert session.get_inputs()[0].shape == ["batch", "length"]


@pytest.mark.parametrize("change", [2 * TOLERANCE, float("nan")])
def test_a_file_with_other_weights_is_refused(
    tmp_path: Path, exported: tuple[nn.Module, Path, export.Parity], change: float
) -> None:
    network, path, _ = exported
    model = onnx.load(str(path))
    bias = next(i for i in model.graph.initializer if i.name == "head.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(change), bias.name))
    wrong = tmp_path / "wrong.onnx"
    onnx.save(model, str(wrong))
    with pytest.raises(VerificationError, match=r"^wrong\.onnx differs from PyTorch by .* at batch 3[^\n]*$"):
        check_parity(network, SPACE, wrong, [(3, 5)])
    check_parity(network, SPACE, path, [(3, 5)])


def test_nothing_is_written_when_the_outputs_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: tuple[nn.Module, Path, export.Parity]
) -> None:
    network, path, _ = exported
    out = tmp_path / "winner.onnx"
    out.write_bytes(b"the file from before")

    def other(module: nn.Module, inputs: object, draft: Path, **names: object) -> None:
        draft.write_bytes(path.read_bytes())

    monkeypatch.setattr(export, "export_onnx", other)
    with torch.no_grad():
        network.head.bias.add_(1e-2)
    try:
        with pytest.raises(VerificationError, match=r"differs from PyTorch by 0\.01"):
            export_network(network, SPACE, (1, 8), out)
    finally:
        with torch.no_grad():
            network.head.bias.sub_(1e-2)
    assert out.read_bytes() == b"the file from before"
    assert [f.name for f in tmp_path.iterdir()] == ["winner.onnx"]


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = onnx.helper.make_model(onnx.helper.make_graph([], "", [], []))
    empty.graph.node.add().op_type = "NoSuchOperator"

    def other(module: nn.Module, inputs: object, draft: Path, **names: object) -> None:
        draft.write_bytes(empty.SerializeToString())

    monkeypatch.setattr(export, "export_onnx", other)
    with pytest.raises(VerificationError, match="not valid ONNX"):
        export_network(_plain(), SPACE, (1, 8), tmp_path / "winner.onnx")
    assert list(tmp_path.iterdir()) == []


class Counting(nn.Module):
    """Adds the batch size, or what it was when the module was made."""

    def __init__(self, batch: int | None = None) -> None:
        super().__init__()
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(4.0) * (x.shape[0] if self.batch is None else self.batch)


def test_a_batch_size_that_became_a_constant_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = export.export_onnx

    def frozen(module: nn.Module, inputs: tuple[Tensor, ...], draft: Path, **names: Any) -> None:
        write(Counting(inputs[0].shape[0]), inputs, draft, **names)

    export_network(Counting(), SPACE, (1, 8), tmp_path / "right.onnx")
    monkeypatch.setattr(export, "export_onnx", frozen)
    with pytest.raises(VerificationError, match="at batch 3"):
        export_network(Counting(), SPACE, (1, 8), tmp_path / "wrong.onnx")
    assert [f.name for f in tmp_path.iterdir()] == ["right.onnx"]


def test_sparse_weights_are_exported_as_zeros(tmp_path: Path) -> None:
    network = nn.Sequential(SparseLinear(4, 8))
    space = SearchSpace("sparse", network, toy_inputs)
    dense = network[0].weight.detach().clone()
    export_network(network, space, (1, 8), tmp_path / "winner.onnx")
    assert torch.equal(network[0].weight, dense), "the trained weights stay as they are"
    model = onnx.load(str(tmp_path / "winner.onnx"))
    weights = [numpy_helper.to_array(i) for i in model.graph.initializer]
    kept = np.sort((dense * largest(dense, 2, 4)).numpy(), None)
    assert any(w.size == 32 and np.array_equal(np.sort(w, None), kept) for w in weights)
