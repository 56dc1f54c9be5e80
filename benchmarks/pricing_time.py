"""How long do tracing and pricing take?

    python benchmarks/pricing_time.py

Tracing a transformer of 24 layers; the cost table of `hybrid-lm`, cold in an empty cache, and then warm;
each in a process of its own, imports apart. Printed and saved.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import torch
from common import save
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable


def traced() -> float:
    """Seconds of the second trace of a process: the first imports what torch needs for fake tensors."""
    from hw_cost_models.trace import trace

    layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
    network, inputs = (
        nn.TransformerEncoder(layer, 24, enable_nested_tensor=False),
        (torch.zeros(1, 256, 512),),
    )
    trace(nn.Linear(4, 4), (torch.zeros(1, 4),))
    began = time.perf_counter()
    trace(network, inputs)
    return time.perf_counter() - began


def priced() -> float:
    """Seconds from a space to its cost table, in the cache that the environment names."""
    import torch._dynamo  # noqa: F401  # two seconds, on the first fake tensor of a process
    from common import ROUNDS

    from hw_cost_models.cost import Workload
    from hw_cost_models.device import load_device
    from hw_cost_models.latency_table import LatencyTable
    from nas.pricing import assembly_of, price_space
    from search_spaces import hybrid_lm

    space, device = hybrid_lm(), load_device("local")
    began = time.perf_counter()
    assembly = assembly_of(space, Workload())
    model = LatencyTable(device, dynamic=space.dynamic, export=assembly.export, rounds=ROUNDS)
    price_space(assembly, model, device)
    return time.perf_counter() - began


def in_a_process(measure: Callable[[], float]) -> float:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure).result()


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["DNAS_CACHE_DIR"] = cache
        seconds = {
            "trace of 24 layers": in_a_process(traced),
            "cost table, cold": in_a_process(priced),
            "cost table, warm": in_a_process(priced),
        }
    for name, value in seconds.items():
        print(f"{name:20} {value:7.2f} s")
    save("pricing_time", {"seconds": seconds})


if __name__ == "__main__":
    main()
