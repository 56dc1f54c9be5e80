"""Tells by how many bytes a fresh process grows for something that PyTorch runs eagerly.

    python -m hw_cost_models.runtimes.pytorch_memory MODULE:FUNCTION ARGUMENT THREADS

`FUNCTION(ARGUMENT)` builds the network, and with it whatever else is to count, and returns a function that
runs it once: a forward, or a step of training. It is called twice, since an optimiser makes its state in the
first step. The growth is the peak of the resident size over what it was before FUNCTION was called, in a
process that had run small networks of the usual layers already, whose heap gives back what is freed.
"""

from __future__ import annotations

import gc
import importlib
import sys

import torch
from torch import nn
from torch.nn import functional as F

from hw_cost_models.runtimes.heap import give_back_large_blocks
from hw_cost_models.runtimes.resident import forget_peak, peak_resident_bytes, resident_bytes


def main(factory: str, argument: str, threads: int) -> None:
    give_back_large_blocks()
    torch.set_num_threads(threads)
    module, _, function = factory.partition(":")
    make = getattr(importlib.import_module(module), function)
    _warm_up()
    gc.collect()
    before = resident_bytes()
    forget_peak()
    run = make(argument)
    for _ in range(2):
        run()
    print(peak_resident_bytes() - before)


def _warm_up() -> None:
    """Load the code of the usual layers and the buffers that libraries keep for good."""
    layers = (nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 1024), nn.LayerNorm(1024), nn.GELU())
    head = nn.Linear(1024, 1024)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()])
    x = head(network(torch.randn(256, 3, 8, 8))).view(1, 4, 256, 256)
    loss = F.scaled_dot_product_attention(x, x, x, is_causal=True).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimizer.step()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
