"""Blocks in ONNX Runtime: prompts and decode steps of an exported file against PyTorch, at other sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime
import torch
from torch import Tensor, nn

from hw_cost_models import export_onnx
from search_spaces import Decoder, Prefill

if TYPE_CHECKING:
    from pathlib import Path

SIZES = ((1, 1), (1, 33), (3, 70))
"""Batches and lengths, none of them those of an example."""


def assert_prompts_agree(block: nn.Module, width: int, folder: Path) -> None:
    """The output and, of a block that decodes, the state after it."""
    module = Prefill(nn.Sequential(block))
    names = ["y", *module.state_names]
    path = folder / "prompt.onnx"
    export_onnx(
        module,
        (torch.randn(1, 48, width),),
        path,
        dynamic={0: "batch", 1: "length"},
        input_names=["x"],
        output_names=names,
    )
    session = onnxruntime.InferenceSession(path)
    for batch, length in SIZES:
        x = _input(batch, length, width)
        with torch.no_grad():
            expected = module(x)
        for name, ours, theirs in zip(names, expected, session.run(None, {"x": x.numpy()}), strict=True):
            assert theirs.shape == ours.shape, name
            torch.testing.assert_close(torch.from_numpy(theirs), ours, atol=1e-4, rtol=0, msg=name)


def assert_steps_agree(block: nn.Module, width: int, folder: Path, context: int = 40) -> None:
    """Token by token from no state on, of a file traced after `context` tokens."""
    decoder = Decoder(nn.Sequential(block))
    past, present = ([f"{when}{name}" for name in decoder.state_names] for when in ("past", "present"))
    path = folder / "step.onnx"
    inputs = (torch.randn(1, 1, width), *decoder.state(1, context))
    export_onnx(decoder, inputs, path, dynamic={}, input_names=["x", *past], output_names=["y", *present])
    session = onnxruntime.InferenceSession(path)
    for batch, length in SIZES:
        x = _input(batch, length, width)
        with torch.no_grad():
            expected = block(x)
        state = [tensor.numpy() for tensor in decoder.state(batch)]
        for position in range(length):
            fed = dict(zip(["x", *past], [x[:, position : position + 1].numpy(), *state], strict=True))
            y, *state = session.run(None, fed)
            torch.testing.assert_close(
                torch.from_numpy(y)[:, 0], expected[:, position], atol=1e-4, rtol=0, msg=f"token {position}"
            )


def _input(batch: int, length: int, width: int) -> Tensor:
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(length))
