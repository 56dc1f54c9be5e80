"""How good do the networks of a search on images become when they are trained for longer?

    python benchmarks/longer_training.py --runs runs/winners --out runs/longer [--steps 5000] [--only TEXT]

Winner, reference and best random architecture of the first seed of the cases of `winners_and_references`
whose name holds TEXT, from fresh weights, each in the same way: to stand beside figures that are published
for networks of their size. Killed, it goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common import save
from rich.console import Console
from winners_and_references import CASES, COMPARED, Case, place_of

from hw_cost_models.files import read_json
from nas.evaluate import error_rate, evaluate
from nas.run import Run
from nas.terminal import Bar
from nas.train import Training, train
from search_spaces import Architecture, select

BATCH = 64
RATE = 3e-3


def trained(case: Case, architecture: Architecture, steps: int, out: Path, name: str) -> dict[str, Any]:
    """Size, and errors on all test data after the training."""
    task, network = case.task(), select(case.space().network, architecture)
    validation, test = (list(task.batches(split, 250, 40)) for split in ("validation", "test"))
    run = Run.open(out) if (out / "config.json").exists() else Run.create(out, {"steps": steps})
    with Bar(Console()) as bar:
        bar.phase(f"training {name}")
        train(network, task, Training(steps, BATCH, RATE, 0), validation[:4], run, name, bar)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "test_loss": evaluate(network, task, test),
        "test_error": error_rate(network, task, test),
        "test_examples": sum(len(inputs[0]) for inputs, _ in test),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs", type=Path, required=True, help="where `winners_and_references` has its runs"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--only", default="clothes", help="cases with this in their name")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for name, case in CASES.items():
        if arguments.only not in name:
            continue
        result = read_json(place_of(arguments.runs, name) / "0" / "result.json")
        networks = {"winner": result, **result["baselines"]}
        for network in COMPARED:
            out = place_of(arguments.out, name) / network
            architecture = Architecture(networks[network]["architecture"])
            figures = trained(case, architecture, arguments.steps, out, network)
            found.setdefault(name, {})[network] = figures
            size, errors = figures["parameters"] / 1e6, figures["test_error"]
            print(f"{name}: {network:12} {size:.3f} M parameters, {errors:.2%} errors")
    save("longer_training", {**vars(arguments), "runs": None, "out": None, "cases": found})
