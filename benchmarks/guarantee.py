"""Do discretised architectures keep random budgets when the exported files are measured?

    python benchmarks/guarantee.py [--budgets 30]

Each budget limits one to three metrics at random; scores are drawn at random. Discretised, exported
untrained, measured, corrected and verified in fresh processes, exactly as a search does. Printed and saved:
how many ended over a limit, and how much of the fullest limit was used, where any limit binds: where the
architecture that the scores would take without a budget is within it, there is nothing to fill.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from common import priced, save

from hw_cost_models.cost import Workload
from hw_cost_models.export import export_onnx
from nas.budget import Budget
from nas.candidates import Source, aim, choose
from nas.discretise import Scores
from nas.errors import InfeasibleBudgetError
from nas.pricing import assembly_of
from nas.verify import Verification, verify
from search_spaces import Architecture, hybrid_lm

if TYPE_CHECKING:
    from nas.bench import Bench
    from nas.cost_table import CostTable


def random_budget(table: CostTable, rng: np.random.Generator) -> Budget:
    """Limits between the smallest and the dearest; drawn again until something meets them all."""
    dearest = table.figures(table.dearest())
    while True:
        metrics = rng.choice(len(table.metrics), size=int(rng.integers(1, 4)), replace=False)
        limits = {}
        for metric in (table.metrics[i] for i in metrics):
            constraint = table.constraint(metric, 1.0)
            smallest = table.problem(Budget()).smallest(constraint)
            assert smallest is not None
            low, high = smallest[1], dearest[metric.name]
            limits[metric.name] = float(low + rng.uniform(0.1, 0.9) * (high - low))
        budget = Budget(**limits)
        try:
            table.problem(aim(table, budget)).check_feasible()
        except InfeasibleBudgetError:
            continue
        return budget


def keep(
    table: CostTable, bench: Bench, budget: Budget, scores: Scores
) -> tuple[Architecture, Verification, int]:
    """The way of a search from scores to a verdict; also the number of corrections on it."""
    selection = choose(
        table,
        budget,
        {"scores": Source(scores)},
        lambda architecture: -scores.of(architecture),
        None,
        partial(bench.architectures, seed=0),
        partial(bench.exported, seed=0),
        lambda name, compute: dict(compute()),
        proposals=3,
        measured=3,
        note=print,
    )
    best = selection.best.architecture
    network, inputs = bench.assembly.whole(best)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(
            network,
            inputs,
            path,
            dynamic=bench.assembly.space.dynamic,
            input_names=bench.assembly.space.input_names,
            output_names=bench.assembly.space.output_names,
        )
        verification = verify(path, inputs, bench.counted((network, inputs)), budget, bench)
    return best, verification, len(selection.table.corrections)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budgets", type=int, default=30)
    count = parser.parse_args().budgets
    table, bench = priced(assembly_of(hybrid_lm(), Workload()))
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        budget = random_budget(table, rng)
        scores = Scores({decision: float(rng.normal()) for decision in table.options})
        architecture, verification, corrections = keep(table, bench, budget, scores)
        use = max(verification.measured[name] / limit for name, limit in budget.limits().items())
        freely = table.problem(Budget()).best(scores)
        assert freely is not None
        binds = any(table.figures(freely.architecture)[n] > limit for n, limit in budget.limits().items())
        rows.append(
            {
                "budget": budget.limits(),
                "architecture": dict(architecture),
                "verdict": verification.verdict,
                "binds": binds,
                "use": use,
                "corrections": corrections,
                "verification": verification.to_dict(),
            }
        )
        limits = ", ".join(f"{name} {limit:.3g}" for name, limit in budget.limits().items())
        bound = f"use {use:6.1%}" if binds else "no limit binds"
        print(f"{number + 1:3}/{count}  {verification.verdict:10}  {bound:14}  {corrections} cut  {limits}")
    verdicts = [row["verdict"] for row in rows]
    summary = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    use = median(row["use"] for row in rows if row["binds"])
    binding = sum(row["binds"] for row in rows)
    print(f"\n{summary}; in the {binding} budgets that bind, median use of the fullest limit {use:.1%}")
    save("guarantee", {"verdicts": summary, "binding": binding, "median_use": use, "budgets": rows})


if __name__ == "__main__":
    main()
