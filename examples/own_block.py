"""A block of your own beside those that are here: its cost is measured, and nowhere written down.

`python examples/own_block.py`, or `nas search own_block:build_space --latency-ms 4` in this folder.
"""

import torch
from torch import Tensor, nn

import nas
from search_spaces import ByteText, Choice, SearchSpace
from search_spaces.blocks import Attention, GatedConvolution, PreNorm, SwiGLU

WIDTH = 64


class RunningMean(nn.Module):
    """Every token beside the mean of all up to it: (batch, length, width) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.ones_like(x[..., :1]).cumsum(dim=1)
        return self.project(torch.cat([x, x.cumsum(dim=1) / tokens], dim=-1))


def mixer() -> Choice:
    options = {
        "attention": Attention(WIDTH, heads=4, kv_heads=4),
        "convolution": GatedConvolution(WIDTH),
        "running mean": RunningMean(WIDTH),
    }
    return Choice({name: PreNorm(WIDTH, block) for name, block in options.items()})


def build_space() -> tuple[SearchSpace, ByteText]:
    """A small language model in which every layer chooses how tokens mix, and the text it learns."""
    layers = [layer for _ in range(3) for layer in (mixer(), PreNorm(WIDTH, SwiGLU(WIDTH, 2 * WIDTH)))]
    network = nn.Sequential(nn.Embedding(256, WIDTH), *layers, nn.Linear(WIDTH, 256))
    task = ByteText(length=128)
    space = SearchSpace(
        "text",
        network,
        lambda batch, length: (torch.arange(length).remainder(256).expand(batch, length),),
        dynamic={0: "batch", 1: "length"},
    )
    return space, task


if __name__ == "__main__":
    space, task = build_space()
    for (choice, option), cost in nas.price(space).options.items():
        print(f"{choice:>3} {option:<12} {cost.latency_ms:.3f} ms  {cost.parameters} parameters")
    result = nas.search(space, task, "runs/own_block", budget=nas.Budget(latency_ms=4), preset="quick")
    print(result.verdict, result.architecture, result.onnx)
