"""Every option of a space on its own: does its file agree with PyTorch, what does it cost, what does it keep?

    python benchmarks/blocks.py [--length 1024] [--context 4096] [--rounds 15]

Each option of `hybrid-lm` is exported and compared with PyTorch at sizes it was not exported at, as a whole
and, where it keeps a state, token by token; then timed in ONNX Runtime on one thread: `length` tokens at
once, and one token after `context`. Printed as the table in the README, and saved.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime
import torch
from common import save

from hw_cost_models.device import load_device
from hw_cost_models.export import export_onnx, feeds
from hw_cost_models.measure import measure
from search_spaces import Decoder, choices, finalised, hybrid_lm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

SIZES = ((1, 1), (2, 77), (3, 300))
"""Batch and length of the comparisons."""
STEPS = 40


def paper(option: nn.Module) -> str:
    """The first that the block's own documentation names, or that of its module."""
    block = getattr(option, "inner", option)
    told = f"{inspect.getdoc(block)} {sys.modules[type(block).__module__].__doc__}"
    found = re.search(r"arXiv:\d+\.\d+", told)
    return found[0] if found else ""


def run(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    session = onnxruntime.InferenceSession(path)
    names = [value.name for value in session.get_inputs()]
    outputs = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    return list(map(torch.from_numpy, outputs))


def difference_whole(option: nn.Module, path: Path, width: int) -> float:
    found = []
    for size in SIZES:
        x = torch.randn(*size, width)
        found.append((run(path, [x])[0] - option(x)).abs().max().item())
    return max(found)


def difference_stepped(option: nn.Module, path: Path, width: int) -> float:
    x, state, found = torch.randn(2, STEPS, width), Decoder(option).state(2), []
    expected = option(x)
    for position in range(STEPS):
        y, *state = run(path, [x[:, position : position + 1], *state])
        found.append((y[:, 0] - expected[:, position]).abs().max().item())
    return max(found)


@dataclass(frozen=True)
class Files:
    """An option as files, with what they run on: as a whole, and one token where it keeps a state."""

    whole: Path
    step: Path
    token: tuple[Tensor, ...]
    """One token and the state before it."""
    difference: float


@torch.no_grad()
def written(option: nn.Module, width: int, context: int, stem: Path) -> Files:
    free: dict[str, Any] = {"dynamic": {0: "batch", 1: "length"}}
    whole, step, decoder = stem.with_suffix(".onnx"), stem.with_suffix(".step.onnx"), Decoder(option)
    example = (torch.randn(1, 64, width),)
    export_onnx(option, example, whole, **free, input_names=["x"], output_names=["y"])
    difference = difference_whole(option, whole, width)
    token = (torch.randn(1, 1, width), *decoder.state(1, context))
    if not decoder.state_names:
        return Files(whole, whole, token, difference)
    past, present = ([f"{when}.{name}" for name in decoder.state_names] for when in ("past", "present"))
    export_onnx(decoder, token, step, **free, input_names=["x", *past], output_names=["y", *present])
    return Files(whole, step, token, max(difference, difference_stepped(option, step, width)))


def told(options: dict[str, nn.Module], width: int, arguments: argparse.Namespace) -> dict[str, Any]:
    device = load_device("local")
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: written(option, width, arguments.context, Path(folder) / str(number))
            for number, (name, option) in enumerate(options.items())
        }
        x = (torch.randn(1, arguments.length, width),)
        wholes = {name: file.whole for name, file in files.items()}, dict.fromkeys(files, x)
        steps = {name: f.step for name, f in files.items()}, {name: f.token for name, f in files.items()}
        prefill, decode = (
            measure(
                *(paths, {name: feeds(path, inputs[name]) for name, path in paths.items()}, device),
                rounds=arguments.rounds,
                seed=0,
            ).timings
            for paths, inputs in (wholes, steps)
        )
    return {
        name: {
            "difference": files[name].difference,
            "prefill_ms": prefill[name].p10_ms,
            "decode_ms": decode[name].p10_ms,
            "weight_kb": sum(p.numel() * p.element_size() for p in option.parameters()) / 1e3,
            "state_kb": sum(t.numel() * t.element_size() for t in files[name].token[1:]) / 1e3,
            "paper": paper(option),
        }
        for name, option in options.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    space = hybrid_lm(layers=1)
    options = {
        name: finalised(choice.option(name)).eval()
        for choice in choices(space.network).values()
        for name in choice.options
        if name != "skip"
    }
    rows = told(options, space.network.embedding.embedding_dim, arguments)
    print("| block | difference | prefill ms | decode ms | weights kB | state kB | paper |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        figures = f"{row['prefill_ms']:.2f} | {row['decode_ms']:.4f} | {row['weight_kb']:.0f}"
        print(f"| `{name}` | {row['difference']:.0e} | {figures} | {row['state_kb']:.1f} | {row['paper']} |")
    save("blocks", {**vars(arguments), "blocks": rows})


if __name__ == "__main__":
    main()
