"""The single-path controller's credit for options: what it promises beyond the conformance suite."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from nas.controllers import Gumbel
from search_spaces import Mixture, bind
from tests.nas.toys import OPTIONS, Row, X, scale

if TYPE_CHECKING:
    from torch import Tensor


def _loss(network: Row, mixture: Mixture) -> Tensor:
    return (bind(network, mixture)(X) - 0.3).square().mean()


def test_what_options_are_credited_with_adds_up_to_the_loss_they_change() -> None:
    """Gumbel's scales, integrated: the credits of a path's options sum to its loss minus that without any."""
    network = Row({"x": scale(3.0), "y": scale(0.5)}, {"u": scale(-1.5), "v": scale(0.8)})
    nodes, shares = np.polynomial.legendre.leggauss(20)
    for taken in itertools.product("xy", "uv"):
        path = dict(zip("ab", taken, strict=True))
        credit = 0.0
        for s, share in zip((nodes + 1) / 2, shares / 2, strict=True):
            weights = [torch.tensor(s, dtype=X.dtype, requires_grad=True) for _ in path]
            mixture = Mixture({p: {o: w} for (p, o), w in zip(path.items(), weights, strict=True)})
            credit += share * sum(g.item() for g in torch.autograd.grad(_loss(network, mixture), weights))
        off = Mixture({p: {o: torch.zeros((), dtype=X.dtype)} for p, o in path.items()})
        on = Mixture({p: {o: None} for p, o in path.items()})
        assert credit == pytest.approx((_loss(network, on) - _loss(network, off)).item(), abs=1e-5)


def test_gumbel_scales_all_options_of_a_step_alike() -> None:
    draws, alpha = torch.Generator().manual_seed(0), {p: torch.zeros(len(o)) for p, o in OPTIONS.items()}
    drawn = [Gumbel().mixture(alpha, OPTIONS, draws) for _ in range(2000)]
    scales = [
        {w.item() for running in m.weights.values() for w in running.values() if w is not None} for m in drawn
    ]
    assert all(len(scale) == 1 for scale in scales)
    values = np.array([scale.pop() for scale in scales])
    assert np.allclose(np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), [0, 0.25, 0.5, 0.75, 1], atol=0.04)
