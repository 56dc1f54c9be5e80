"""Searches over images: small, but from the budget to a file that another runtime runs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hw_cost_models.files import read_json
from nas.budget import Budget
from nas.cost_table import CostTable
from nas.start import Result, search
from search_spaces import Choice, SearchSpace, finalised, select
from search_spaces.blocks import (
    BidirectionalAttention,
    ConvNeXt,
    ConvNorm,
    MBConv,
    MixtureOfExperts,
    OverPositions,
    PreNorm,
    SeparableConvolution,
    SparseLinear,
    SwiGLU,
)
from search_spaces.examples import Examples
from search_spaces.images import LabelledImages
from search_spaces.mobile_vision import example_images, mobile_vision
from search_spaces.rules import at_least, where
from tests.nas.toys import EFFORT
from tests.search_spaces.narrowed import narrowed

if TYPE_CHECKING:
    from pathlib import Path

SIDE, WIDTH = 8, 8
KEPT = {"separable_3x3", "mbconv_3x3_e6", "mbconv_5x5_e6", "skip"}
"""Those of EfficientNet-lite-like."""
SMALL = replace(EFFORT, batch_size=8, random_architectures=2)


def _task() -> LabelledImages:
    """Three classes, by which part of the image is bright."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 3
    images = torch.rand(120, SIDE, SIDE, generator=draws)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[2 * label : 2 * label + 2] += 1
    return LabelledImages("bright rows", Examples("made for a test", images, labels))


def _assert_the_file_is_the_network(result: Result, space: SearchSpace) -> None:
    network = select(space.network, result.architecture)
    network.load_state_dict(load_file(result.path / "winner.safetensors"))
    network = finalised(network).eval()
    session = onnxruntime.InferenceSession(result.onnx)
    for (images,), _ in _task().batches("test", 5, 2):
        (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        np.testing.assert_allclose(found, network(images).detach().numpy(), atol=1e-4)


def test_mobile_vision_is_searched(tmp_path: Path) -> None:
    space = narrowed(mobile_vision(classes=3, resolution=SIDE, scaled_to=(6,), width=8), KEPT)
    result = search(space, _task(), tmp_path / "run", device="raspberry-pi-5", effort=SMALL)
    assert result.verdict == "predicted, not verified"
    assert result.summary["workload"] == {"kind": "forward", "batch": 1, "length": SIDE, "unit": "pixels"}
    assert f"{SIDE} x {SIDE} pixels" in result.report.read_text()
    assert result.architecture["resolution"] in ("8px", "6px")
    assert result.summary["predicted"]["latency_ms"] <= result.summary["budget"]["latency_ms"]
    reference = result.summary["baselines"]["reference"]
    assert reference["architecture"] in [dict(a) for a in space.references[reference["name"]]]
    assert {"test_loss", "test_error"} <= reference.keys()
    assert {length for _, length in result.summary["parity"]["shapes"]} == {SIDE}
    _assert_the_file_is_the_network(result, space)


class Mixed(nn.Module):
    """Convolutions, then blocks over positions. (batch, 1, h, w) -> logits (batch, 3)."""

    def __init__(self) -> None:
        super().__init__()
        mixture = partial(MixtureOfExperts, WIDTH, WIDTH, experts=3, active=1)
        sparse = partial(SwiGLU, WIDTH, 2 * WIDTH, SparseLinear)
        self.stem = ConvNorm(1, WIDTH, 3, stride=2, activation=nn.ReLU)
        self.convolution = Choice(
            {
                "mbconv": MBConv(WIDTH, WIDTH, kernel=3, expansion=2, excited=True),
                "separable": SeparableConvolution(WIDTH, WIDTH, kernel=3),
            }
        )
        attention = BidirectionalAttention(WIDTH, 2, kv_heads=2)
        self.mixer = Choice({"attention": _over_positions(attention), "convnext": ConvNeXt(WIDTH, kernel=3)})
        self.first = Choice({"moe": _over_positions(mixture()), "sparse": _over_positions(sparse())})
        self.second = Choice({"moe": _over_positions(mixture()), "sparse": _over_positions(sparse())})
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.second(self.first(self.mixer(self.convolution(self.stem(images)))))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


def _over_positions(block: nn.Module) -> nn.Module:
    return OverPositions(PreNorm(WIDTH, block))


@pytest.fixture(scope="module")
def mixed() -> SearchSpace:
    """The rules leave networks that have all four kinds of blocks in them."""
    torch.manual_seed(0)
    network = Mixed()
    kinds = ("attention", "moe", "sparse")
    rules = tuple(at_least(1, where(network, "*", kind)) for kind in kinds)
    return SearchSpace("mixed", network, partial(example_images, 1), rules=rules, length=SIDE, unit="pixels")


def test_convolution_attention_experts_and_sparsity_in_one_space(tmp_path: Path, mixed: SearchSpace) -> None:
    result = search(mixed, _task(), tmp_path / "run", budget=Budget(latency_ms=100, params_m=1), effort=SMALL)
    assert result.verdict in ("within", "undecided"), "a machine that is busy decides nothing"
    assert result.summary["measured"]["latency_ms"] < 100
    taken = set(result.architecture.values())
    assert taken >= {"attention", "moe", "sparse"}
    assert taken & {"mbconv", "separable"}
    table = CostTable.from_dict(read_json(result.path / "cost_table.json"))
    assert all(cost.latency_ms > 0 and cost.flops > 0 for cost in table.options.values())
    _assert_the_file_is_the_network(result, mixed)
