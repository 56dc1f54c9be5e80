"""What the benchmarks share: where results go, and a table of a space on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_cost_models.device import load_device
from hw_cost_models.files import read_json
from nas.bench import Bench
from nas.cost_table import CostTable
from nas.environment import environment
from nas.pricing import price_on
from nas.progress import Silent

if TYPE_CHECKING:
    from nas.assembly import Assembly

RESULTS = Path(__file__).parent / "results"
ROUNDS = 40


def save(name: str, figures: dict[str, Any]) -> None:
    """Prints the figures and writes them, with the machine they were measured on, to results/NAME.json."""
    text = json.dumps({**figures, "environment": environment()}, indent=1)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(f"\nwritten to {RESULTS / name}.json")


def priced(assembly: Assembly, threads: int = 1) -> tuple[CostTable, Bench]:
    """The cost table on this machine and a bench that states its figures as of that table."""
    table, bench = price_on(load_device("local").with_threads(threads), assembly, "p50", ROUNDS, Silent())
    assert bench is not None  # the device is this machine
    return table, bench


def restored(assembly: Assembly, threads: int, path: Path) -> tuple[CostTable, Bench]:
    """A table and its bench from a file that holds both, as a run does."""
    kept = read_json(path)
    device = load_device("local").with_threads(threads)
    return CostTable.from_dict(kept), Bench.restore(assembly, device, "p50", ROUNDS, kept["anchors"])
