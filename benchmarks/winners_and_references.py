"""What wins where, and does it beat the network that people know at equal cost?

    python benchmarks/winners_and_references.py --out runs/winners [--seeds 3] [--preset quick] [--only TEXT]

`hybrid-lm` on text and on in-context recall, under budgets that differ in device, threads and context, and
with a choice of precision under one of memory; `mobile-vision` on clothes and on digits. Each limit is a
share of what the full LLaMA-like stack or EfficientNet-lite-like network takes there. Winner, reference and
the best random architecture are trained in the same way. Printed and saved: the options of the winners,
those on the front of quality and cost, and test figures as mean and standard deviation over the seeds. A
run that is there already is not run again.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from common import save
from rich.console import Console

import nas
from hw_cost_models.cost import Workload
from hw_cost_models.device import load_device
from hw_cost_models.files import read_json
from nas.budget import metric
from nas.pricing import assembly_of, price_on
from nas.progress import Silent
from nas.report.option_costs import groups, limited, qualities
from nas.report.record import RunRecord
from nas.settings import PRESETS
from nas.terminal import Bar
from search_spaces import ByteText, hybrid_lm
from search_spaces.digits import digits
from search_spaces.fashion_mnist import fashion_mnist
from search_spaces.mobile_vision import mobile_vision
from search_spaces.precision import with_precisions
from search_spaces.quantised import PRECISIONS
from search_spaces.space import batch_multiple
from search_spaces.synthetic import SyntheticTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from search_spaces import SearchSpace, Task

ROUNDS = 40
COMPARED = ("winner", "reference", "best_random")

RECALL = {"learning_rate": 3e-3, "supernet_steps": 1500, "tuning_steps": 200, "train_steps": 600}
"""Alone, two layers of convolution and attention recall after some 500 steps, of the gated delta rule
after 100; at twice the rate attention does not."""


IMAGES = {"learning_rate": 0.012, "supernet_steps": 800, "tuning_steps": 100, "train_steps": 500}
"""Of batches of 64 images: half a look at each of Fashion-MNIST's. At half the rate 300 steps leave the
supernet 0.1 nats worse; ranked after 30 steps, small candidates that learn fast came before better ones."""


@dataclass(frozen=True)
class Case:
    device: str
    metric: str = "latency_ms"
    workload: Workload = field(default_factory=Workload)
    """The one that is limited."""
    threads: int | None = None
    task: Callable[[], Task] = ByteText
    space: Callable[[], SearchSpace] = hybrid_lm
    reference: str = "LLaMA-like"
    share: float = 0.6
    effort: Mapping[str, Any] = field(default_factory=dict)
    """Where it differs from the preset's."""


def clothes(share: float) -> Case:
    """In half the widths of MobileNetV3-small: up to 0.13 million parameters."""
    return Case(
        *("local", "latency_ms", Workload(1, 28), 1, fashion_mnist),
        *(partial(mobile_vision, width=8), "EfficientNet-lite-like"),
        share=share,
        effort=IMAGES,
    )


CASES = {
    "edge: raspberry-pi-5": Case("raspberry-pi-5"),
    "server: nvidia-l4, batches of 32": Case("nvidia-l4", workload=Workload(batch=32)),
    "here": Case("local", threads=1),
    "here, 2 threads": Case("local", threads=2),
    "here, a token after 4,096": Case("local", "decode_ms", Workload(1, 4096, "decode"), threads=1),
    "here, integers": Case(
        *("local", "memory_mb", Workload(), 1, ByteText, lambda: with_precisions(hybrid_lm(), PRECISIONS)),
        share=0.4,
    ),
    "here, recall": Case(
        *("local", "latency_ms", Workload(1, 512), 1, lambda: SyntheticTask("recall")), effort=RECALL
    ),
    "here, clothes, a tight budget": clothes(0.35),
    "here, clothes": clothes(0.7),
    "here, digits": Case(
        *("local", "latency_ms", Workload(1, 8), 1, digits),
        *(partial(mobile_vision, resolution=8), "EfficientNet-lite-like"),
        effort={"tuning_steps": 30, "train_steps": 500},
    ),
}


def search(case: Case, seed: int, preset: str, out: Path) -> dict[str, Any]:
    space, device = case.space(), load_device(case.device, threads=case.threads)
    task = case.task()
    forward = case.workload if case.workload.kind == "forward" else Workload()
    if (out / "config.json").exists():
        with Bar(Console()) as bar:
            return nas.resume(out, space, task, progress=bar).summary
    table, _ = price_on(device, assembly_of(space, case.workload), "p50", ROUNDS, Silent())
    limited, sizes = metric(case.metric), space.references[case.reference]
    limit = case.share * max(limited.of(table.cost(size)) for size in sizes)
    with Bar(Console()) as bar:
        return nas.search(
            *(space, task, out),
            budget=nas.Budget(**{case.metric: limit}),
            device=case.device,
            threads=case.threads,
            workload=forward,
            context=case.workload.length,
            preset=preset,
            effort=replace(PRESETS[preset].scaled(batch_multiple(task)), **case.effort),
            seed=seed,
            progress=bar,
        ).summary


def on_front(run: Path) -> set[str]:
    """Options that no other of their choice equals at less cost: by what is limited, and by fitted scores.

    Both are means over the places where the choice stands.
    """
    parts = {name: read_json(run / f"{name}.json") for name in ("result", "cost_table", "scores")}
    record = RunRecord(parts["result"], {}, parts["cost_table"], [], parts["scores"])
    found = set()
    for group in groups(record):
        costs, quality = limited(record)[0].costs(group), qualities(record, group)
        found |= {
            option
            for option in group.options
            if not any(costs[o] < costs[option] and quality[o] >= quality[option] for o in group.options)
        }
    return found


def summed_up(runs: list[dict[str, Any]], places: list[Path]) -> dict[str, Any]:
    trained = [{"winner": run["quality"], **run["baselines"]} for run in runs]
    return {
        "verdicts": [run["verdict"] for run in runs],
        "budget": [run["budget"] for run in runs],
        "options": dict(Counter(o for run in runs for o in run["architecture"].values()).most_common()),
        "on_front": dict(Counter(o for place in places for o in on_front(place)).most_common()),
        "architectures": [run["architecture"] for run in runs],
        **{
            name: {what: [t[name][what] for t in trained] for what in ("test_metric", "test_error")}
            for name in COMPARED
        },
        "all_in_int8": {
            name: [run["precision"][name]["int8"] for run in runs if "precision" in run] for name in COMPARED
        },
    }


def told(figures: list[float]) -> str:
    return f"{mean(figures):.3f}" + (f" ± {stdev(figures):.3f}" if len(figures) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--only", default="", help="cases with this in their name")
    arguments = parser.parse_args()
    found = {}
    for name, case in CASES.items():
        if arguments.only not in name:
            continue
        place = arguments.out / "".join(c if c.isalnum() else "-" for c in name)
        places = [place / str(seed) for seed in range(arguments.seeds)]
        runs = [search(case, seed, arguments.preset, path) for seed, path in enumerate(places)]
        found[name] = summed_up(runs, places)
        print(f"\n{name}: {', '.join(found[name]['verdicts'])}")
        for network in COMPARED:
            figures = found[name][network]
            print(f"  {network:12} {told(figures['test_metric'])}  errors {told(figures['test_error'])}")
        for network, figures in found[name]["all_in_int8"].items():
            if figures:
                print(f"  {network:12} {told(figures)} with all in int8")
        for what in ("options", "on_front"):
            counts = ", ".join(f"{count} {option}" for option, count in found[name][what].items())
            print(f"  {what}: {counts}")
    if not arguments.only:
        save("winners_and_references", {**vars(arguments), "out": None, "cases": found})


if __name__ == "__main__":
    main()
