"""How do latency and memory of every mixer of `hybrid-lm` grow with the length of the text?

    python benchmarks/context_scaling.py [--width 64] [--heads 4] [--threads 1] [--rounds 7]

Each mixer is exported once, with its length free, and runs in ONNX Runtime over 256 to 8,192 tokens: the 10th
percentile of its latencies, and what the runtime takes beside the weights. Fitted: the exponent b of
a * length^b, by least squares in logarithms. Beside them what it keeps for decoding after 4,096 tokens.
Printed, saved, and drawn in results/context_scaling.html.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import torch
from common import RESULTS, save
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from hw_cost_models.device import load_device
from hw_cost_models.export import export_onnx, feeds
from hw_cost_models.measure import measure
from search_spaces import Decoder, Stateful
from search_spaces.hybrid_lm import mixers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
CONTEXT = 4096


def measured(option: nn.Module, width: int, threads: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds and megabytes of a mixer at every length, its lengths against each other."""
    device = load_device("local").with_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        path, names = Path(folder) / "mixer.onnx", {"input_names": ["x"], "output_names": ["y"]}
        example = (torch.randn(1, 256, width),)
        export_onnx(option.eval(), example, path, dynamic={0: "batch", 1: "length"}, **names)
        inputs = {str(length): feeds(path, (torch.randn(1, length, width),)) for length in LENGTHS}
        paths = dict.fromkeys(inputs, path)
        told = measure(paths, inputs, device, rounds=rounds, seed=0, memory=paths)
    return {
        "latency_ms": [told.timings[name].p10_ms for name in inputs],
        "memory_mb": [told.arena_bytes[name] / 1e6 for name in inputs],
    }


def exponent(figures: list[float]) -> float:
    return float(np.polyfit(np.log(LENGTHS), np.log(figures), 1)[0])


def state_bytes(option: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in Decoder(option).state(1, CONTEXT))


def drawn(found: Mapping[str, Any]) -> go.Figure:
    figure = make_subplots(cols=2, subplot_titles=("latency, ms", "memory beside the weights, MB"))
    for number, (name, row) in enumerate(found.items()):
        for column, what in enumerate(("latency_ms", "memory_mb"), start=1):
            line = go.Scatter(
                x=LENGTHS,
                y=row[what],
                name=f"{name}  {row['latency_exponent']:.2f}, {row['memory_exponent']:.2f}",
                legendgroup=name,
                showlegend=column == 1,
                mode="lines+markers",
                line={"color": qualitative.D3[number % 10], "dash": ("solid", "dot")[number // 10 % 2]},
            )
            figure.add_trace(line, row=1, col=column)
    figure.update_xaxes(type="log", tickvals=LENGTHS, title="tokens")
    figure.update_yaxes(type="log", dtick=1)
    title = "Mixers over the length of the text (in the legend: exponents of latency and memory)"
    figure.update_layout(template="plotly_white", title=title, width=1100, height=480)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    options = {
        name: option
        for name, option in mixers(arguments.width, arguments.heads).items()
        if any(isinstance(module, Stateful) for module in option.modules())
    }
    found: dict[str, Any] = {}
    for name, option in options.items():
        found[name] = measured(option, arguments.width, arguments.threads, arguments.rounds)
        print(f"{name} measured", flush=True)
    print(f"\n{'':20}{'ms':>8}{'exponent':>10}{'MB':>10}{'exponent':>10}   state kB after {CONTEXT:,}")
    for name, row in found.items():
        row["latency_exponent"], row["memory_exponent"] = map(exponent, (row["latency_ms"], row["memory_mb"]))
        row["state_kb"] = state_bytes(options[name]) / 1e3
        print(
            f"{name:20}{row['latency_ms'][-1]:8.2f}{row['latency_exponent']:10.2f}"
            f"{row['memory_mb'][-1]:10.1f}{row['memory_exponent']:10.2f}{row['state_kb']:14.1f}"
        )
    save("context_scaling", {**vars(arguments), "lengths": LENGTHS, "mixers": found})
    page = RESULTS / "context_scaling.html"
    drawn(found).write_html(page, include_plotlyjs=True, config={"displayModeBar": False})


if __name__ == "__main__":
    main()
