"""This machine taken for a stranger's board: ten architectures measured, the others of the space predicted.

    python benchmarks/adaptation_here.py [--networks 60] [--measured 10] [--rounds 15]

Random architectures of `hybrid-lm`, from all over the cost range, run in ONNX Runtime on one thread and two,
and in OpenVINO. All that is known of them beforehand is what the rooflines of the shipped profiles say.
Printed and saved, of the networks that were not measured: rank correlation, errors, and how many lie in the
interval of 90 %; beside it, the rank correlation of FLOPs, and what ten random networks would have given.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from common import save
from scipy.stats import spearmanr

from hw_cost_models.adaptation import Adapter, known_by_roofline
from hw_cost_models.cost import Workload
from hw_cost_models.device import load_device
from hw_cost_models.export import feeds
from hw_cost_models.measure import measure
from hw_cost_models.trace import trace
from nas.pricing import assembly_of
from search_spaces import Architecture, hybrid_lm

if TYPE_CHECKING:
    from hw_cost_models.device import Device
    from nas.assembly import Assembly

CHANCES = 20
"""Random draws of the networks to measure, for comparison."""


def random_architectures(assembly: Assembly, count: int) -> list[Architecture]:
    """From all over the cost range: how much each skips is drawn first."""
    options: dict[str, list[str]] = {}
    for path, option in assembly.decisions:
        options.setdefault(path, []).append(option)
    rng, found = np.random.default_rng(0), dict[Architecture, None]()
    while len(found) < count:
        skips = rng.uniform()
        drawn = {
            path: "skip" if "skip" in names and rng.uniform() < skips else str(rng.choice(names))
            for path, names in options.items()
        }
        found[Architecture(drawn)] = None
    return list(found)


def measured_ms(
    assembly: Assembly, architectures: list[Architecture], device: Device, rounds: int
) -> np.ndarray:
    with tempfile.TemporaryDirectory(prefix="dnas-adaptation-") as folder:
        files, inputs = {}, {}
        for architecture in architectures:
            path = Path(folder) / f"{len(files)}.onnx"
            onnx.save(assembly.model(architecture), path)
            files[path.stem] = path
            inputs[path.stem] = feeds(path, assembly.whole(architecture)[1])
        measurement = measure(files, inputs, device, rounds=rounds, seed=0)
    for warning in measurement.warnings:
        print(f"{device.runtime}, {device.threads} thread(s): {warning}")
    return np.array([measurement.timings[name].p10_ms for name in files])


def figures(adapter: Adapter, chosen: list[int], truth: np.ndarray) -> dict[str, float]:
    adapted = adapter.adapt(chosen, truth[chosen])
    low, high = adapted.interval_ms(0.9)
    rest = np.setdiff1d(np.arange(len(truth)), chosen)
    errors = np.abs(adapted.latency_ms / truth - 1)[rest]
    return {
        "spearman": float(spearmanr(adapted.latency_ms[rest], truth[rest]).statistic),
        "mean_error": float(errors.mean()),
        "within_10": float((errors <= 0.1).mean()),
        "in_interval_90": float(((low <= truth) & (truth <= high))[rest].mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--measured", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    assembly, local = assembly_of(hybrid_lm(), Workload()), load_device("local")
    architectures = random_architectures(assembly, arguments.networks)
    graphs = [trace(*assembly.whole(architecture)) for architecture in architectures]
    flops = np.array([sum(flops for _, flops in graph.nodes.data("flops")) for graph in graphs])
    adapter = Adapter.fit(*known_by_roofline(graphs))
    chosen = adapter.choose(arguments.measured)
    devices = {
        "onnxruntime, 1 thread": local,
        "onnxruntime, 2 threads": local.with_threads(2),
        "openvino, 1 thread": local.with_runtime("openvino"),
    }
    results: dict[str, dict[str, Any]] = {}
    for name, device in devices.items():
        truth = measured_ms(assembly, architectures, device, arguments.rounds)
        draws = [
            np.random.default_rng(seed).permutation(len(truth))[: arguments.measured].tolist()
            for seed in range(CHANCES)
        ]
        row, by_chance = figures(adapter, chosen, truth), [figures(adapter, draw, truth) for draw in draws]
        results[name] = {
            **row,
            "flops_spearman": float(spearmanr(flops, truth).statistic),
            "random_networks": {key: float(np.mean([run[key] for run in by_chance])) for key in row},
            "measured_ms": truth.tolist(),
        }
        chance = results[name]["random_networks"]["mean_error"]
        print(
            f"{name:24} Spearman {row['spearman']:.3f} (FLOPs {results[name]['flops_spearman']:.3f}), "
            f"mean error {row['mean_error']:.1%} (from random networks {chance:.1%}), "
            f"within 10 % {row['within_10']:.0%}, in the interval of 90 % {row['in_interval_90']:.0%}"
        )
    save("adaptation_here", {"networks": len(graphs), "chosen": len(chosen), "devices": results})


if __name__ == "__main__":
    main()
