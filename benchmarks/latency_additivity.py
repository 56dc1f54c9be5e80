"""Does a table of options predict the latency of whole architectures that it was not built from?

    python benchmarks/latency_additivity.py [--space hybrid-lm|convolutional] [--networks 40] [--threads 1]
        [--kind forward|decode] [--length 256]

A process of its own makes the table; then random architectures are timed in ONNX Runtime. Printed and saved:
mean and largest error, Kendall's tau, and, for architectures of full depth inside a band of 10 % around one
latency, tau beside that of a ranking by FLOPs: stacks of different depth order themselves. What was measured
is the mean over two sets of processes; the tau between these two is as high as any prediction can hope for.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from common import priced, restored, save
from convolutional import convolutional
from scipy.stats import kendalltau

from hw_cost_models.cost import Workload
from hw_cost_models.files import write_json
from nas.discretise import Constraint, Problem, Scores
from nas.pricing import assembly_of, whole_architectures
from nas.sampling import FairSampler
from search_spaces import Architecture, hybrid_lm

if TYPE_CHECKING:
    from hw_cost_models.cost import Kind
    from nas.assembly import Assembly
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
    latency = next(m for m in table.metrics if m.timed)
    full = Problem(
        {path: tuple(o for o in options if o != "skip") for path, options in table.choices.items()}
    )
    additive = table.constraint(latency, 1.0)
    low = full.smallest(additive)
    assert low is not None
    middle = (low[1] + table.cost(table.dearest()).latency_ms) / 2
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


def measured(bench: Bench, architectures: list[Architecture], again: int) -> list[float]:
    figures = []
    for start in range(0, len(architectures), BATCH):
        figures += bench.architectures(architectures[start : start + BATCH], seed=start + again)
    return [figure[bench.clock] for figure in figures]


def compare(table: CostTable, bench: Bench, architectures: list[Architecture]) -> dict[str, object]:
    first, second = (measured(bench, architectures, again) for again in range(2))
    truth = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    predicted = [table.cost(a).latency_ms for a in architectures]
    flops = [table.cost(a).flops for a in architectures]
    errors = [p / m - 1 for p, m in zip(predicted, truth, strict=True)]
    return {
        "networks": len(truth),
        "mean_error": float(np.mean(np.abs(errors))),
        "largest_error": float(np.max(np.abs(errors))),
        "within_10_percent": float(np.mean(np.abs(errors) <= 0.1)),
        "bias": float(np.mean(errors)),
        "kendall": float(kendalltau(predicted, truth).statistic),
        "kendall_flops": float(kendalltau(flops, truth).statistic),
        "kendall_of_repeating": float(kendalltau(first, second).statistic),
        "predicted_ms": predicted,
        "measured_ms": truth,
    }


def one_process(task: Task) -> dict[str, object]:
    """The whole of it, from a table that another process measured."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "table.json"
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
            other.submit(keep_table, task, kept).result()
        table, bench = restored(task.assembly(), task.threads, kept)
    known = set(whole_architectures(bench.assembly, {d: cost.flops for d, cost in table.options.items()}))
    print(
        f"{task}: {table.cost(table.dearest()).latency_ms:.2f} ms the dearest, "
        f"residual of the table {table.calibration.latency.residual:.1%}"
    )
    results = {
        "whole range": compare(table, bench, spread(table, known, task.networks)),
        "full depth, inside ±10 %": compare(table, bench, banded(table, known, task.networks)),
    }
    for name, r in results.items():
        print(
            f"{name:26} {r['networks']} networks  mean error {r['mean_error']:.1%}  largest "
            f"{r['largest_error']:.1%}  tau {r['kendall']:.3f}  tau of FLOPs {r['kendall_flops']:.3f}  "
            f"tau of measuring again {r['kendall_of_repeating']:.3f}"
        )
    return {**vars(task), **results}


@dataclass(frozen=True)
class Task:
    space: str
    kind: Kind
    length: int
    threads: int
    networks: int

    def __str__(self) -> str:
        return f"{self.space}, {self.kind}, length {self.length}, {self.threads} thread(s)"

    @property
    def name(self) -> str:
        return f"{self.space}_{self.kind}_{self.length}_{self.threads}"

    def assembly(self) -> Assembly:
        space = hybrid_lm() if self.space == "hybrid-lm" else convolutional()
        return assembly_of(space, Workload(1, self.length, self.kind))


def keep_table(task: Task, path: Path) -> None:
    table, bench = priced(task.assembly(), task.threads)
    write_json(path, {**table.to_dict(), "anchors": bench.anchors_to_dict()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", choices=("hybrid-lm", "convolutional"), default="hybrid-lm")
    parser.add_argument("--kind", choices=("forward", "decode"), default="forward")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    task = Task(**vars(parser.parse_args()))
    save(f"latency_additivity_{task.name}", one_process(task))


if __name__ == "__main__":
    main()
