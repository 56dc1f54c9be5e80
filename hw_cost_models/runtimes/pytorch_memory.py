"""Tells by how many bytes a fresh process grows for something that PyTorch runs eagerly.

    python -m hw_cost_models.runtimes.pytorch_memory MODULE:FUNCTION ARGUMENT THREADS

`FUNCTION(ARGUMENT)` builds the network, and with it whatever else is to count, and returns a function that
runs it once: a forward, or a step of training. It is called twice, since an optimiser makes its state in the
first step. The growth is the peak of the resident size while it runs, without the pages of programs that
were read in since, over what it was before in a process that had run small networks of the usual layers, and
had built this one and let go of it. The heap gives back what is freed.
"""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hw_cost_models.runtimes.heap import give_back_large_blocks
from hw_cost_models.runtimes.resident import forget_peak, peak_resident_bytes, resident_bytes


def main(factory: str, argument: str, threads: int) -> None:
    give_back_large_blocks()
    torch.set_num_threads(threads)
    module, _, function = factory.partition(":")
    make = getattr(importlib.import_module(module), function)
    _warm_up()
    make(argument)
    gc.collect()
    before, programs = resident_bytes(), _program_bytes()
    run = make(argument)
    gc.collect()
    forget_peak()
    for _ in range(2):
        run()
    print(peak_resident_bytes() - before - (_program_bytes() - programs))


def _program_bytes() -> int:
    """Pages of files that are resident; 0 where there is no /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:")), 0)


def _warm_up() -> None:
    """Load the code of the usual layers and the buffers that libraries keep for good."""
    convolutions = nn.Sequential(
        *(nn.Conv2d(3, 32, 7, stride=2, padding=3), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 128, 1), nn.Conv2d(128, 128, 3, padding=1, groups=128), nn.ReLU6()),
        *(nn.Conv2d(128, 32, 1), nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1)),
    )
    layers = nn.Sequential(nn.Linear(1024, 1024), nn.LayerNorm(1024), nn.GELU(), nn.Linear(1024, 1024))
    optimizer = torch.optim.AdamW([*convolutions.parameters(), *layers.parameters()])
    x = checkpoint(layers, torch.randn(256, 1024), use_reentrant=False).view(1, 4, 256, 256)
    mixed = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    loss = mixed.square().mean() + convolutions(torch.randn(4, 3, 128, 128)).mean()
    loss.backward()
    optimizer.step()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
