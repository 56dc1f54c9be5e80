"""What the benchmarks share: where results go, and a table of the space on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_cost_models.cost import Workload
from hw_cost_models.device import load_device
from nas.environment import environment
from nas.pricing import assembly_of, price_on
from nas.progress import Silent

if TYPE_CHECKING:
    from nas.bench import Bench
    from nas.budget import Statistic
    from nas.cost_table import CostTable
    from search_spaces import SearchSpace

RESULTS = Path(__file__).parent / "results"


def save(name: str, figures: dict[str, Any]) -> None:
    """Prints the figures and writes them, with the machine they were measured on, to results/NAME.json."""
    text = json.dumps({**figures, "environment": environment()}, indent=1)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(f"\nwritten to {RESULTS / name}.json")


def priced(
    space: SearchSpace, threads: int = 1, statistic: Statistic = "p50", rounds: int = 40
) -> tuple[CostTable, Bench]:
    """The cost table on this machine and a bench that states its figures as of that table."""
    device, workload = load_device("local").with_threads(threads), Workload()
    assembly = assembly_of(space, workload)
    table, bench = price_on(device, assembly, statistic, rounds, Silent())
    assert bench is not None  # the device is this machine
    return table, bench
