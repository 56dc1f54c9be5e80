"""Latency on a device never seen, from ten networks measured there.

    python benchmarks/adaptation.py --tables FOLDER [--samples 10] [--seeds 3]

FOLDER holds tables of measured latencies, `*_latency.csv` or `*_latency.csv.gz`: a row for each network, its
architecture in `cellstr` (a cell of NAS-Bench-201) or `arch` (the number of the option in each slot), its
latency in milliseconds on each device setting in a column `lat_CHIP_BATCH`; those of HELP, for example,
https://github.com/HayeonLee/HELP. Every setting is left out in turn and predicted: "setting" with all the
others known, "chip" without the other settings of the same chip, "unlike" also without every device that
ranks the networks as it does (Spearman 0.98 or more). The ten are chosen out of 1,500 random networks, others
for each seed, and the figures are of all networks that were not measured. The baseline is a Bayesian ridge on
the first four principal components of the known devices' log latencies, with ten random networks.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import save
from scipy.stats import spearmanr
from sklearn.linear_model import BayesianRidge

from hw_cost_models.adaptation import Adapter

if TYPE_CHECKING:
    from collections.abc import Callable

POOL = 1500
"""Networks that could be measured."""
ALIKE = 0.98
"""Rank correlation from which on a known device gives the answer away."""


@dataclass(frozen=True)
class Table:
    name: str
    settings: list[str]
    latency_ms: np.ndarray
    """(networks, settings)"""
    features: np.ndarray
    """(networks, features)"""

    def unmeasured(self, target: int) -> dict[str, list[int]]:
        """Which settings count as known, by how much is left out."""
        others = [i for i in range(len(self.settings)) if i != target]
        chip = [i for i in others if chip_of(self.settings[i]) != chip_of(self.settings[target])]
        ranks = spearmanr(self.latency_ms).statistic[target]
        return {"setting": others, "chip": chip, "unlike": [i for i in chip if ranks[i] < ALIKE]}


def chip_of(setting: str) -> str:
    """`1080ti` of `lat_1080ti_256`. The four digits of a server's processor are no batch size."""
    return re.sub(r"_\d{1,3}$", "", setting.removeprefix("lat_"))


def read_table(path: Path) -> Table:
    """Without the networks whose output is not connected to their input, which do nothing."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        rows = list(csv.DictReader(file))
    settings = [column for column in rows[0] if column.startswith("lat_")]
    if "cellstr" in rows[0]:
        options = np.array([cell_options(row["cellstr"]) for row in rows])
        features, alive = cell_features(options)
    else:
        options = np.array([row["arch"].split() for row in rows])
        features, alive = one_hot(options), np.ones(len(rows), dtype=bool)
    latency = np.array([[float(row[setting]) for setting in settings] for row in rows])
    return Table(path.name.split("_latency")[0], settings, latency[alive], features[alive])


def cell_options(cell: str) -> list[str]:
    """The operations on the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3."""
    return re.findall(r"(\w+)~\d", cell)


def cell_features(options: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cells, features), and whether the output of each is connected to its input.

    The operation on each edge, and how many there are of each kind on edges through which something flows, as
    they are and in the logarithm of two weighted sums: arithmetic (a 3 x 3 convolution is nine of 1 x 1), and
    operators that move a tensor.
    """
    e01, e02, e12, e03, e13, e23 = (options != "none").T
    into2, out_of1 = e02 | (e12 & e01), e13 | (e12 & e23)
    flows = np.column_stack([e01 & out_of1, e02 & e23, e12 & e01 & e23, e03, e13 & e01, e23 & into2])
    kinds = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    counts = np.column_stack([((options == kind) & flows).sum(axis=1) for kind in kinds])
    skips, small, large, pools = counts.T
    sums = np.log(np.column_stack([1 + small + 9 * large, 1 + small + large + pools, 1 + skips + pools]))
    return np.column_stack([one_hot(options), counts, sums]), e03 | (e01 & e13) | (into2 & e23)


def one_hot(options: np.ndarray) -> np.ndarray:
    return np.column_stack([options == option for option in np.unique(options)]).astype(float)


def ours(table: Table, known: list[int], pool: np.ndarray, latency: np.ndarray, count: int) -> Prediction:
    adapter = Adapter.fit(np.log(table.latency_ms[:, known]), table.features)
    chosen = np.array(adapter.choose(count, pool))
    whole = bool((latency[chosen] == np.round(latency[chosen])).all())
    adapted = adapter.adapt(chosen, latency[chosen], resolution_ms=1.0 if whole else 0.0)
    low, high = adapted.interval_ms(0.9)
    return Prediction(chosen, adapted.latency_ms, (low <= latency) & (latency <= high))


def baseline(table: Table, known: list[int], pool: np.ndarray, latency: np.ndarray, count: int) -> Prediction:
    logs = np.log(table.latency_ms[:, known])
    left, sizes, _ = np.linalg.svd(logs - logs.mean(axis=0), full_matrices=False)
    components, chosen = left[:, :4] * sizes[:4], pool[:count]
    mean, deviation = (
        BayesianRidge().fit(components[chosen], np.log(latency[chosen])).predict(components, return_std=True)
    )
    return Prediction(chosen, np.exp(mean), np.abs(np.log(latency) - mean) <= 1.645 * deviation)


@dataclass(frozen=True)
class Prediction:
    measured: np.ndarray
    latency_ms: np.ndarray
    inside: np.ndarray
    """Whether the measured latency lies in the interval of 90 %."""

    def figures(self, latency: np.ndarray) -> dict[str, float]:
        rest = np.ones(len(latency), dtype=bool)
        rest[self.measured] = False
        predicted, measured = self.latency_ms[rest], latency[rest]
        return {
            "spearman": float(spearmanr(predicted, measured).statistic),
            "within_10": float((np.abs(predicted / measured - 1) <= 0.1).mean()),
            "in_interval_90": float(self.inside[rest].mean()),
        }


def evaluate(table: Table, target: int, known: list[int], samples: int, seeds: int) -> dict[str, object]:
    """Means over the seeds, of both methods."""
    latency = table.latency_ms[:, target]
    pools = [np.random.default_rng(seed).permutation(len(latency))[:POOL] for seed in range(seeds)]

    def mean(method: Callable[..., Prediction]) -> dict[str, float]:
        runs = [method(table, known, pool, latency, samples).figures(latency) for pool in pools]
        return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}

    return {"known": len(known), **mean(ours), "baseline": mean(baseline)}


def report(name: str, results: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Prints means over the devices and, for "chip", each device, the worst first."""
    means = {}
    for left_out, devices in results.items():
        rows = [{**row, "baseline_spearman": row["baseline"]["spearman"]} for row in devices.values()]
        keys = ("spearman", "within_10", "in_interval_90", "baseline_spearman")
        means[left_out] = {key: float(np.mean([row[key] for row in rows])) for key in keys}
        mean = means[left_out]
        print(
            f"{name:16} without the {left_out:8} Spearman {mean['spearman']:.4f} "
            f"(baseline {mean['baseline_spearman']:.4f})  within 10 % {mean['within_10']:.1%}  "
            f"in the interval of 90 % {mean['in_interval_90']:.1%}"
        )
    for setting, row in sorted(results["chip"].items(), key=lambda item: item[1]["spearman"]):
        print(f"    {setting:22} {row['spearman']:.3f}  within 10 % {row['within_10']:.1%}")
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    paths = sorted(arguments.tables.glob("*_latency.csv*"))
    if not paths:
        parser.error(f"{arguments.tables} holds no *_latency.csv or *_latency.csv.gz")
    figures = {}
    for table in map(read_table, paths):
        results: dict[str, dict[str, dict[str, float]]] = {}
        for target, setting in enumerate(table.settings):
            for left_out, known in table.unmeasured(target).items():
                row = evaluate(table, target, known, arguments.samples, arguments.seeds)
                results.setdefault(left_out, {})[setting] = row
        figures[table.name] = {"means": report(table.name, results), "devices": results}
    save("adaptation", {"samples": arguments.samples, "seeds": arguments.seeds, "tables": figures})


if __name__ == "__main__":
    main()
