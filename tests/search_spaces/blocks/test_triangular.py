"""Inverses by products against LAPACK's solver."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hw_cost_models import export_onnx
from search_spaces.blocks.triangular import unit_lower_inverse


def solved(below: Tensor) -> Tensor:
    identity = torch.eye(below.shape[-1], dtype=below.dtype).expand_as(below)
    return torch.linalg.solve_triangular(below.tril(-1) + identity, identity, upper=False, unitriangular=True)


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 40))
def test_equals_the_solver_with_its_gradient(size: int) -> None:
    torch.manual_seed(size)
    matrices = torch.rand(2, 3, size, size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, size, size, dtype=torch.float64)
    inverses = unit_lower_inverse(matrices.tril(-1)), solved(matrices)
    torch.testing.assert_close(*inverses)
    torch.testing.assert_close(
        *(torch.autograd.grad((inverse * weight).sum(), matrices)[0] for inverse in inverses)
    )


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_exact_where_a_token_repeats(share: float) -> None:
    below = torch.full((64, 64), share).tril(-1)
    torch.testing.assert_close(unit_lower_inverse(below), solved(below), atol=1e-6, rtol=1e-6)


def test_exports(tmp_path: Path) -> None:
    class Inverse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return unit_lower_inverse(x)

    path, x = tmp_path / "inverse.onnx", torch.rand(3, 16, 16).tril(-1)
    export_onnx(Inverse(), (x,), path, dynamic={0: "batch"}, input_names=["x"], output_names=["y"])
    (made,) = onnxruntime.InferenceSession(path).run(None, {"x": x[:1].numpy()})
    torch.testing.assert_close(torch.from_numpy(made), solved(x[:1]), atol=1e-5, rtol=1e-5)
