"""Does a table of options predict the latency of whole architectures that it was not built from?

    python benchmarks/latency_additivity.py [--networks 24] [--threads 1]

Random architectures are exported whole and timed in ONNX Runtime. Printed and saved: mean and largest error,
Kendall's tau, and, for architectures of full depth inside a band of 10 % around one latency, tau beside that
of a ranking by FLOPs: stacks of different depth order themselves.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from common import priced, save
from scipy.stats import kendalltau

from nas.budget import METRICS
from nas.discretise import Constraint, Problem, Scores
from nas.pricing import whole_architectures
from nas.sampling import FairSampler
from search_spaces import Architecture, hybrid_lm

if TYPE_CHECKING:
    from nas.bench import Bench
    from nas.cost_table import CostTable

BATCH = 12
"""Architectures timed in the same rounds."""


def spread(table: CostTable, known: set[Architecture], count: int) -> list[Architecture]:
    """Architectures from all over the cost range, none of which the table was fitted to."""
    sampler, generator = FairSampler.over(table), torch.Generator().manual_seed(1)
    found: list[Architecture] = []
    while len(found) < count:
        architecture = sampler.sample(generator)
        if architecture not in known and architecture not in found:
            found.append(architecture)
    return found


def banded(table: CostTable, known: set[Architecture], count: int) -> list[Architecture]:
    """Without a skip, within 10 % of the middle of what such architectures cost; random objectives."""
    latency = METRICS[0]
    full = Problem(
        {path: tuple(o for o in options if o != "skip") for path, options in table.choices.items()}
    )
    additive = table.constraint(latency, 1.0)
    low = full.smallest(additive)
    assert low is not None
    middle = (low[1] + table.figures(table.dearest())["latency_ms"]) / 2
    upper = replace(additive, limit=1.1 * middle)
    lower = Constraint(
        "at least", -0.9 * middle, {d: -v for d, v in additive.additive.items()}, -additive.fixed
    )
    band = replace(full, constraints=(upper, lower))
    rng = np.random.default_rng(2)
    found: list[Architecture] = []
    while len(found) < count:
        scores = {d: float(rng.normal()) for d in additive.additive if d[1] != "skip"}
        solution = band.best(Scores(scores))
        assert solution is not None
        if solution.architecture not in known and solution.architecture not in found:
            found.append(solution.architecture)
    return found


def measured(bench: Bench, architectures: list[Architecture]) -> list[float]:
    figures = []
    for start in range(0, len(architectures), BATCH):
        figures += bench.architectures(architectures[start : start + BATCH], seed=start)
    return [figure["latency_ms"] for figure in figures]


def compare(table: CostTable, bench: Bench, architectures: list[Architecture]) -> dict[str, object]:
    truth = measured(bench, architectures)
    predicted = [table.figures(a)["latency_ms"] for a in architectures]
    flops = [table.cost(a).flops for a in architectures]
    errors = [p / m - 1 for p, m in zip(predicted, truth, strict=True)]
    return {
        "networks": len(truth),
        "mean_error": float(np.mean(np.abs(errors))),
        "largest_error": float(np.max(np.abs(errors))),
        "bias": float(np.mean(errors)),
        "kendall": float(kendalltau(predicted, truth).statistic),
        "kendall_flops": float(kendalltau(flops, truth).statistic),
        "predicted_ms": predicted,
        "measured_ms": truth,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    space = hybrid_lm()
    table, bench = priced(space, arguments.threads)
    known = set(whole_architectures(bench.assembly, {d: cost.flops for d, cost in table.options.items()}))
    budgetless = table.figures(table.dearest())["latency_ms"]
    print(f"{budgetless:.2f} ms the dearest, residual of the table {table.calibration.latency.residual:.1%}")
    results = {
        "whole range": compare(table, bench, spread(table, known, arguments.networks)),
        "full depth, inside ±10 %": compare(table, bench, banded(table, known, arguments.networks)),
    }
    for name, r in results.items():
        print(
            f"{name:26} {r['networks']} networks  mean error {r['mean_error']:.1%}  largest "
            f"{r['largest_error']:.1%}  tau {r['kendall']:.3f}  tau of FLOPs {r['kendall_flops']:.3f}"
        )
    save(f"latency_additivity_{arguments.threads}", {"threads": arguments.threads, **results})


if __name__ == "__main__":
    main()
