"""Does one space give different winners, each within its budget, as the budget tightens?

    python benchmarks/three_budgets.py --out runs/three [--preset quick]

First a search without a limit that binds; then budgets at 40, 60 and 85 % of that winner's measured latency,
each a run of its own that takes the cost table, the supernet and the scores from the first: they do not
depend on the budget.
Printed and saved: verdict, predicted against measured, use of the limit, quality beside equal-cost random.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import save
from rich.console import Console

import nas
from nas.run import Run
from nas.settings import Settings
from nas.terminal import Bar
from search_spaces import ByteText, hybrid_lm

SHARES = (0.85, 0.6, 0.4)
NO_LIMIT_MS = 1e4


BEFORE_THE_BUDGET = (
    "environment.json",
    "cost_table.json",
    "scores.json",
    "checkpoints/1-supernet",
    "trajectory/1-supernet.jsonl",
)


def search(latency_ms: float, out: Path, preset: str) -> dict[str, Any]:
    with Bar(Console()) as bar:
        budget = nas.Budget(latency_ms=latency_ms)
        return nas.search(hybrid_lm(), ByteText(), out, budget=budget, preset=preset, progress=bar).summary


def another_budget(first: Path, latency_ms: float, out: Path) -> dict[str, Any]:
    """A search under another budget, resumed from where the budget begins to matter."""
    settings = Settings.from_dict(Run.open(first).config)
    Run.create(out, replace(settings, budget=nas.Budget(latency_ms=latency_ms)).to_dict())
    for name in BEFORE_THE_BUDGET:
        (out / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (first / name).is_dir() else shutil.copy
        copy(first / name, out / name)
    with Bar(Console()) as bar:
        return nas.resume(out, hybrid_lm(), ByteText(), progress=bar).summary


def row(summary: dict[str, Any]) -> dict[str, Any]:
    predicted, measured = summary["predicted"]["latency_ms"], summary["measured"]["latency_ms"]
    random = summary["baselines"]["best_random"]
    return {
        "limit_ms": summary["budget"]["latency_ms"],
        "verdict": summary["verdict"],
        "predicted_ms": predicted,
        "measured_ms": measured,
        "processes_ms": [p["latency_ms"] for p in summary["verification"]["processes"]],
        "prediction_error": predicted / measured - 1,
        "use": summary["use"],
        "winner_source": summary["winner_source"],
        "attempts": max(candidate["attempt"] for candidate in summary["candidates"]),
        "test_metric": summary["quality"]["test_metric"],
        "best_random_test_metric": random["test_metric"],
        "shared_loss": summary["quality"]["shared_loss"],
        "best_random_shared_loss": random["shared_loss"],
        "architecture": summary["architecture"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="quick")
    arguments = parser.parse_args()
    rows = {"no limit": row(search(NO_LIMIT_MS, arguments.out / "no-limit", arguments.preset))}
    for share in SHARES:
        limit = share * rows["no limit"]["measured_ms"]
        out = arguments.out / f"{share:.0%}"
        rows[f"{share:.0%}"] = row(another_budget(arguments.out / "no-limit", limit, out))
    for name, r in rows.items():
        print(
            f"{name:>8}  limit {r['limit_ms']:8.2f}  predicted {r['predicted_ms']:.3f}  measured "
            f"{r['measured_ms']:.3f}  {r['verdict']:9}  use {r['use']['fraction']:.0%}  bits/byte "
            f"{r['test_metric']:.3f}  random {r['best_random_test_metric']:.3f}  from {r['winner_source']}"
        )
    save("three_budgets", {"preset": arguments.preset, "searches": rows})


if __name__ == "__main__":
    main()
