"""Text from exported files equals PyTorch's, token for token."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.export import export_decoder, export_prefill
from search_spaces import finalised, hybrid_lm, select
from tests.search_spaces.covering import covering
from tests.search_spaces.narrowed import narrowed

EXAMPLE = Path(__file__).parents[2] / "examples" / "generate.py"
PROMPT = b"def mean(values):"
TOKENS = 40


KEPT = {"attention", "sliding_window", "gated_delta", "convolution", "swiglu_4x", "moe", "monarch", "skip"}
"""States of each kind; that all options step in files as they do in PyTorch is tested beside the spaces."""


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A model in which each of them stands somewhere."""
    space = narrowed(hybrid_lm(layers=5, width=16, heads=2), KEPT)
    (architecture,) = covering(space.network)
    return finalised(select(space.network, architecture)).eval()


@pytest.fixture(scope="module")
def model(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    space = hybrid_lm(layers=1, width=16, heads=2)  # for its names and example inputs
    assert export_prefill(network, space, (1, 64), folder / "model-prefill.onnx").max_difference < 1e-4
    assert export_decoder(network, space, (1, 64), folder / "model-decode.onnx").max_difference < 1e-4
    return str(folder / "model")


def test_logits_are_pytorchs(network: nn.Module, model: str) -> None:
    example = runpy.run_path(str(EXAMPLE))
    made = list(example["logits_of"](model, list(PROMPT), TOKENS, example["Pick"](temperature=0)))
    text = torch.tensor([[*PROMPT, *(token for token, _ in made)]])
    with torch.no_grad():
        expected = network(text)[0, len(PROMPT) - 1 : -1]
    assert len(made) == TOKENS
    for (token, logits), row in zip(made, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(logits), row, atol=1e-4, rtol=1e-4)
        assert token == row.argmax()


def test_the_script_prints_text(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["generate.py", model, PROMPT.decode(), "--tokens", "5"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert capsys.readouterr().out.startswith(PROMPT.decode())
