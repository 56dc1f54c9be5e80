"""How far can the cost models be trusted? All of it in one go, beside what peers publish.

    python benchmarks/cost_accuracy.py [--tables FOLDER] [--models FOLDER] [--again]

Runs the scripts whose results are not there yet (`--again`: all), an hour on two slow cores, and sums up.
FOLDER of tables as in adaptation.py, of models as in real_networks.py; what is not given is left out, and
said to be.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import RESULTS, save
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ADDITIVITY = {
    "hybrid-lm": ("--space", "hybrid-lm"),
    "hybrid-lm, 2 threads": ("--space", "hybrid-lm", "--threads", "2"),
    "hybrid-lm, a token after 1,024": ("--space", "hybrid-lm", "--kind", "decode", "--length", "1024"),
    "hybrid-lm, a token after 4,096": ("--space", "hybrid-lm", "--kind", "decode", "--length", "4096"),
    "convolutional": ("--space", "convolutional"),
    "convolutional, 2 threads": ("--space", "convolutional", "--threads", "2"),
}
PEERS = (
    ("nn-Meter", "83-99 % of convolutional networks within 10 %, by device (Zhang et al., MobiSys 2021)"),
    ("LitePred", "98.6-100 % within 10 % (Feng et al., NSDI 2024)"),
    (
        "HELP",
        "Spearman 0.932 from ten samples on devices never seen, mean of six (Lee et al. 2021)",
    ),
)


def name_of(arguments: tuple[str, ...]) -> str:
    """As latency_additivity.py names its results."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    parts = [given.get("--space"), given.get("--kind", "forward"), given.get("--length", "256")]
    return "_".join(["latency_additivity", *map(str, parts), given.get("--threads", "1")])


def result(name: str, script: str, arguments: tuple[str, ...], again: bool) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    if again or not path.exists():
        subprocess.run([sys.executable, str(HERE / script), *arguments], check=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def additivity(again: bool) -> dict[str, str]:
    rows = {}
    for title, arguments in ADDITIVITY.items():
        found = result(name_of(arguments), "latency_additivity.py", arguments, again)
        for part, label in (
            ("whole range", title),
            ("full depth, inside ±10 %", f"{title}, in a ±10 % band"),
        ):
            r = found[part]
            rows[f"latency, {label}"] = (
                f"{r['networks']} networks: mean error {r['mean_error']:.1%}, "
                f"within 10 %: {r['within_10_percent']:.0%}, "
                f"tau {r['kendall']:.3f} (by FLOPs {r['kendall_flops']:.3f}, "
                f"of measuring again {r['kendall_of_repeating']:.3f})"
            )
    return rows


def memory(again: bool) -> dict[str, str]:
    rows = result("memory_accuracy", "memory_accuracy.py", (), again)["rows"]
    told = {}
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        mine = [row for row in rows if row["runtime"] == runtime]
        close = [row for row in mine if within(row["predicted"], row["measured"])]
        told[f"peak memory, {runtime}"] = f"{len(close)} of {len(mine)} within 10 %, or 2 MB below 50 MB"
    return told


def within(predicted: float, measured: float) -> bool:
    return abs(predicted - measured) <= (0.1 * measured if measured > 50e6 else 2e6)


def adaptation(tables: str | None, again: bool) -> dict[str, str]:
    if tables is None and not (RESULTS / "adaptation.json").exists():
        return {"a device never seen": "left out: no --tables"}
    found = result("adaptation", "adaptation.py", ("--tables", tables or ""), again and tables is not None)
    return {
        f"a device never seen, {name}": f"Spearman {table['means'][way]['spearman']:.3f}, within 10 %: "
        f"{table['means'][way]['within_10']:.0%} (baseline {table['means'][way]['baseline_spearman']:.3f})"
        for name, table in found["tables"].items()
        for way in ("chip",)
    }


def real(models: str | None, again: bool) -> dict[str, str]:
    if models is None and not (RESULTS / "real_networks.json").exists():
        return {"networks that people ship": "left out: no --models"}
    found = result(
        "real_networks", "real_networks.py", ("--models", models or ""), again and models is not None
    )
    figures = (found[name] for name in ("median_error", "within_20", "roofline_median_error"))
    median, within_20, roofline = (f"{figure:.1%}" for figure in figures)
    told = f"{found['networks']}: median error {median}, within 20 %: {within_20}, roofline {roofline}"
    return {"networks that people ship": told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables")
    parser.add_argument("--models")
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    rows = {
        **additivity(given.again),
        **memory(given.again),
        **adaptation(given.tables, given.again),
        **real(given.models, given.again),
    }
    seconds = result("pricing_time", "pricing_time.py", (), given.again)["seconds"]
    rows |= {f"time, {name}": f"{value:.2f} s" for name, value in seconds.items()}
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("what")
    table.add_column("figure")
    for row in (*rows.items(), *((f"published by {peer}", told) for peer, told in PEERS)):
        table.add_row(*row)
    Console(width=150).print(table)
    save("cost_accuracy", {"rows": rows, "peers": dict(PEERS)})


if __name__ == "__main__":
    main()
