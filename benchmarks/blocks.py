"""Every option of a space on its own: does its file agree with PyTorch, what does it cost, what does it keep?

    python benchmarks/blocks.py [--length 1024] [--context 4096] [--rounds 15]

Each option of `hybrid-lm` is exported and compared with PyTorch at sizes it was not exported at, as a whole
and, where it keeps a state, token by token; then timed in ONNX Runtime on one thread: `length` tokens at
once, and one token after `context`. Printed as the table in the README, and saved.
"""

from __future__ import annotations

import argparse
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
PAPERS = {
    "attention": "1706.03762",
    "grouped_query": "2305.13245",
    "multi_query": "1911.02150",
    "latent": "2405.04434",
    "sliding_window": "2004.05150, 2309.17453",
    "sliding_window_4x": "2004.05150, 2309.17453",
    "block_sparse": "1904.10509",
    "linear_attention": "2006.16236",
    "gated_delta": "2412.06464",
    "state_space": "2405.21060",
    "convolution": "2511.23404",
    "bottleneck": "1606.08415",
    "gelu_4x": "1606.08415",
    "swiglu": "2002.05202",
    "moe": "1701.06538, 2401.04088",
    "moe_shared": "2401.06066",
    "moe_null": "2406.13233, 2410.07348",
    "sparse": "2104.08378, 2102.04010",
    "monarch": "2204.00595",
}
"""On arXiv, by option or by how its name begins."""


def run(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    session = onnxruntime.InferenceSession(path)
    names = [value.name for value in session.get_inputs()]
    outputs = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    return list(map(torch.from_numpy, outputs))


def relative(found: Tensor, expected: Tensor, x: Tensor) -> float:
    """The largest difference as a part of the most that the option adds: untrained ones add little."""
    return ((found - expected).abs().max() / (expected - x).abs().max()).item()


def difference_whole(option: nn.Module, path: Path, width: int) -> float:
    inputs = [torch.randn(*size, width) for size in SIZES]
    found = [(run(path, [x])[0], option(x), x) for x in inputs]
    return relative(*(torch.cat([t.flatten() for t in tensors]) for tensors in zip(*found, strict=True)))


def difference_stepped(option: nn.Module, path: Path, width: int) -> float:
    x, state, found = torch.randn(2, STEPS, width), Decoder(option).state(2), []
    expected = option(x)
    for position in range(STEPS):
        y, *state = run(path, [x[:, position : position + 1], *state])
        found.append(y)
    return relative(torch.cat(found, dim=1), expected, x)


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
            "paper": PAPERS.get(name, PAPERS.get(name.split("_")[0], "")),
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
