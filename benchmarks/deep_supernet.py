"""A supernet of 24 layers: what it takes to build it, to take a step, to price it and to decide it.

    python benchmarks/deep_supernet.py

`hybrid-lm` with 24 layers, every option of every choice. Steps are of batch 4 and 256 tokens: on one path,
and on all options at once, the dearest that there is. Memory is the peak of the process so far. Pricing
begins in an empty cache. Discretising is the solver alone, at half of the dearest latency and with a limit on
memory, on scores drawn at random. Printed and saved.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from typing import TYPE_CHECKING

import torch
from common import priced, save

from hw_cost_models.cost import Workload
from nas.budget import Budget
from nas.controllers import Darts
from nas.discretise import Scores
from nas.pricing import assembly_of
from nas.run import generator
from nas.sampling import random_architecture
from nas.steps import weight_step
from nas.supernet import Supernet
from nas.train import make_optimizer
from search_spaces import ByteText, Mixture, hybrid_lm

if TYPE_CHECKING:
    from nas.cost_table import CostTable
    from search_spaces import SearchSpace

LAYERS = 24


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def step(space: SearchSpace, mixture: Mixture, supernet: Supernet) -> dict[str, float]:
    """Seconds of a training step, the second of two, and the peak of the process until then."""
    task, optimizer = ByteText(), make_optimizer(supernet.weights(), 1e-3)
    for _ in range(2):
        began = time.perf_counter()
        batch = task.sample("train", 4, generator(0, "deep"))
        weight_step(supernet, task, batch, mixture, None, optimizer)
    return {"seconds": time.perf_counter() - began, "peak_gb": peak_gb()}


def discretised(table: CostTable) -> dict[str, float]:
    draws = torch.Generator().manual_seed(0)
    quality = torch.randn(len(table.options), generator=draws).tolist()
    scores = Scores(dict(zip(table.options, quality, strict=True)))
    dearest = table.figures(table.dearest())
    budgets = {
        "latency": Budget(latency_ms=0.5 * dearest["latency_ms"]),
        "latency and memory": Budget(
            latency_ms=0.5 * dearest["latency_ms"], memory_mb=0.5 * dearest["memory_mb"]
        ),
    }
    seconds = {}
    for name, budget in budgets.items():
        began = time.perf_counter()
        found = table.problem(budget).best(scores)
        seconds[name] = time.perf_counter() - began
        assert found is not None
    return seconds


def main() -> None:
    began = time.perf_counter()
    space = hybrid_lm(layers=LAYERS)
    supernet = Supernet(space.network, controller=Darts())
    options = {len(names) for names in supernet.options.values()}
    figures = {
        "choices": len(supernet.options),
        "options": sorted(options),
        "parameters_m": sum(p.numel() for p in space.network.parameters()) / 1e6,
        "build_s": time.perf_counter() - began,
        "one path": step(
            space, Mixture.of(random_architecture(space.network, generator(0, "path"))), supernet
        ),
        "all options": step(space, supernet.sample(generator(0, "mixture")), supernet),
    }
    with tempfile.TemporaryDirectory() as cache:
        os.environ["DNAS_CACHE_DIR"] = cache
        began = time.perf_counter()
        table, _ = priced(assembly_of(space, Workload()))
        figures["price_cold_s"] = time.perf_counter() - began
    figures["discretise_s"] = discretised(table)
    figures["residual"] = table.calibration.latency.residual
    for name, value in figures.items():
        print(f"{name:14} {value}")
    save("deep_supernet", figures)


if __name__ == "__main__":
    main()
