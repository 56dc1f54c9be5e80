"""A run that looks like a real one, as plain dicts, and a reader of the page made from it."""

from __future__ import annotations

import json
import math
import random
from html.parser import HTMLParser
from typing import Any

import pytest

from nas.report import RunRecord

Json = dict[str, Any]

MIXERS = {
    "attention": 0.92,
    "grouped_query_attention": 0.84,
    "multi_query_attention": 0.79,
    "sliding_window": 0.71,
    "linear_attention": 0.55,
    "convolution": 0.21,
    "skip": 0.0,
}
FEEDFORWARDS = {
    "swiglu_1x": 0.24,
    "swiglu_2x": 0.43,
    "swiglu_4x": 0.81,
    "experts_4_top_2": 1.05,
    "sparse_2_of_4": 0.44,
    "low_rank": 0.19,
    "skip": 0.0,
}
LAYERS = 4
LIMIT_MS, LIMIT_MB = 4.0, 16.0


def option_cost(latency: float) -> Json:
    return {
        "latency_ms": latency,
        "weight_mb": round(0.3 * latency, 4),
        "peak_activation_mb": 0.5,
        "params_m": round(0.08 * latency, 4),
        "flops": latency * 2.1e7,
    }


def cost_table() -> Json:
    choices: Json = {}
    for layer in range(LAYERS):
        choices[f"layers.{layer}.mixer"] = {name: option_cost(ms) for name, ms in MIXERS.items()}
        choices[f"layers.{layer}.feedforward"] = {name: option_cost(ms) for name, ms in FEEDFORWARDS.items()}
    return {
        "device": "local",
        "workload": {"kind": "forward", "batch": 1, "length": 256},
        "threads": 1,
        "statistic": "p50",
        "choices": choices,
        "fixed": option_cost(0.47),
    }


def scores() -> Json:
    """Worth as much as what it takes; one pair of neighbours is good together."""
    options = [
        [path, name, 0.01 * cost["latency_ms"]]
        for path, places in cost_table()["choices"].items()
        for name, cost in places.items()
    ]
    return {
        "options": options,
        "neighbours": [["layers.0.mixer", "convolution", "layers.0.feedforward", "low_rank", 0.007]],
    }


def architecture(mixers: list[str], feedforwards: list[str]) -> dict[str, str]:
    chosen = {f"layers.{i}.mixer": name for i, name in enumerate(mixers)}
    chosen |= {f"layers.{i}.feedforward": name for i, name in enumerate(feedforwards)}
    return dict(sorted(chosen.items()))


WINNER = architecture(
    ["convolution", "linear_attention", "grouped_query_attention", "skip"],
    ["swiglu_2x", "low_rank", "swiglu_2x", "swiglu_4x"],
)
BEST_RANDOM = architecture(
    ["linear_attention", "convolution", "linear_attention", "linear_attention"],
    ["swiglu_2x", "swiglu_1x", "sparse_2_of_4", "swiglu_2x"],
)
UNIFORM = architecture(["linear_attention"] * LAYERS, ["swiglu_1x"] * LAYERS)
LARGEST = architecture(["attention"] * LAYERS, ["experts_4_top_2"] * LAYERS)


def latency(chosen: dict[str, str]) -> float:
    return 0.47 + sum((MIXERS | FEEDFORWARDS)[option] for option in chosen.values())


def predicted(chosen: dict[str, str]) -> Json:
    total = latency(chosen)
    return {"latency_ms": total, "memory_mb": 4.0 + 2.1 * total, "params_m": 0.05 * total}


def trained(chosen: dict[str, str], loss: float, shared: float, draw: random.Random) -> Json:
    measured = {key: value * draw.uniform(0.98, 1.02) for key, value in predicted(chosen).items()}
    return {
        "architecture": chosen,
        "predicted": predicted(chosen),
        "measured": measured,
        "shared_loss": shared,
        "validation_loss": loss * 0.99,
        "test_loss": loss,
        "test_metric": loss / math.log(2),
        "test_error": 0.25 * loss,
    }


def random_architectures(draw: random.Random, count: int) -> list[Json]:
    found = []
    while len(found) < count:
        chosen = architecture(
            draw.choices(list(MIXERS), k=LAYERS), draw.choices(list(FEEDFORWARDS), k=LAYERS)
        )
        if 0.92 * LIMIT_MS < latency(chosen) <= LIMIT_MS:
            loss = draw.gauss(1.95, 0.05)
            found.append({"architecture": chosen, "predicted": predicted(chosen), "shared_loss": loss})
    return found


def candidates(draw: random.Random) -> list[Json]:
    found = []
    for index, network in enumerate(random_architectures(draw, 6)):
        measured = {key: value * draw.uniform(0.985, 1.03) for key, value in network["predicted"].items()}
        source = ("scores", "controller", "both")[index % 3]
        known = {"source": source, "shared_loss": draw.uniform(1.82, 1.9), "attempt": 1 + index // 4}
        fits = measured["latency_ms"] <= LIMIT_MS
        found.append(
            network
            | known
            | ({"measured": measured, "fits": fits} if index != 5 else {"measured": None, "fits": None})
        )
    winner = {"architecture": WINNER, "predicted": predicted(WINNER), "shared_loss": 1.803, "source": "both"}
    measured = {"latency_ms": 3.94, "memory_mb": 12.6, "params_m": 0.21}
    return [*found, winner | {"attempt": 2, "measured": measured, "fits": True}]


def probabilities(progress: float, draw: random.Random) -> dict[str, list[float]]:
    def softmax(options: dict[str, float], taken: str) -> list[float]:
        weights = [math.exp(3.2 * progress * (name == taken) + 0.25 * draw.random()) for name in options]
        return [weight / sum(weights) for weight in weights]

    choices = cost_table()["choices"]
    return {path: softmax(options, WINNER[path]) for path, options in choices.items()}


def trajectory(draw: random.Random, steps: int = 900) -> list[Json]:
    lines: list[Json] = []
    for step in range(steps):
        task = 1.9 + 3.6 * math.exp(-step / 90) + draw.gauss(0, 0.08)
        distilled = 0.25 + 0.9 * math.exp(-step / 200) + abs(draw.gauss(0, 0.05))
        auxiliary = 0.02 + 0.01 * draw.random()
        losses = {"task_loss": task, "distillation_loss": distilled, "auxiliary_loss": auxiliary}
        lines.append(
            {"phase": "supernet", "step": step, "loss": sum(losses.values()), **losses, "learning_rate": 3e-3}
        )
    for step in range(300):
        dual = max(0.0, 0.6 * math.exp(-step / 150) * (1 - math.exp(-step / 20)))
        ratio = 1 + 0.35 * math.exp(-step / 60) * math.cos(step / 25)
        entry: Json = {
            "phase": "architecture",
            "step": step,
            "loss": 1.86 + 0.2 * math.exp(-step / 80) + draw.gauss(0, 0.03),
            "expected": {"latency_ms": LIMIT_MS * ratio, "memory_mb": LIMIT_MB * (0.55 + 0.2 * ratio)},
            "duals": {"latency_ms": dual, "memory_mb": 0.0},
        }
        if step % 5 == 0:
            entry["probabilities"] = probabilities(step / 300, draw)
        lines.append(entry)
    for index, network in enumerate(("winner", "best_random", "uniform", "largest")):
        for step in range(400):
            loss = 1.62 + 0.03 * index * (index < 3) + 0.35 * math.exp(-step / 120) + draw.gauss(0, 0.05)
            lines.append({"phase": "train", "network": network, "step": step, "loss": loss})
    return lines


def finished_result(draw: random.Random) -> Json:
    process = {"latency_ms": 3.94, "raw_latency_ms": 4.02, "drift": 1.021, "p10_ms": 3.88, "p95_ms": 4.21}
    return {
        "verdict": "within",
        "space": "hybrid-lm",
        "task": {
            "name": "bytes",
            "metric": "bits per byte",
            "source": "Python's standard library",
            "train_bytes": 3800000,
        },
        "device": {
            "name": "local",
            "description": "this machine's CPU",
            "threads": 1,
            "runtime": "onnxruntime",
        },
        "workload": {"kind": "forward", "batch": 1, "length": 256},
        "statistic": "p50",
        "preset": "standard",
        "seed": 0,
        "controller": "gumbel",
        "schedule": "staged",
        "architecture": WINNER,
        "budget": {"latency_ms": LIMIT_MS, "memory_mb": LIMIT_MB},
        "predicted": {"latency_ms": latency(WINNER), "memory_mb": 12.3, "params_m": 0.21},
        "measured": {"latency_ms": 3.94, "memory_mb": 12.6, "params_m": 0.21},
        "verification": {
            "rounds": 25,
            "processes": [process | {"memory_mb": 12.6, "drift": 1.021 + 0.004 * i} for i in range(3)],
            "verdicts": {"latency_ms": "within"},
            "resident_mb": 38.2,
            "file_mb": 0.87,
        },
        "quality": {"shared_loss": 1.803, "validation_loss": 1.601, "test_loss": 1.624, "test_metric": 2.343},
        "baselines": {
            "random": random_architectures(draw, 24),
            "best_random": trained(BEST_RANDOM, 1.652, 1.861, draw),
            "uniform": trained(UNIFORM, 1.688, 1.902, draw),
            "largest": trained(LARGEST, 1.590, 1.742, draw),
        },
        "winner_source": "scores, controller",
        "candidates": candidates(draw),
        "corrections": [
            {
                "attempt": 1,
                "architecture": BEST_RANDOM,
                "metric": "latency_ms",
                "predicted": 3.93,
                "measured": 4.07,
                "limit": LIMIT_MS,
            }
        ],
        "scores": {"evaluations": 240, "held_out_kendall": 0.71, "held_out_spearman": 0.88, "pairs": True},
        "calibration": {
            "residual": 0.012,
            "networks": [
                {"predicted_ms": ms, "measured_ms": ms * draw.uniform(0.98, 1.02)}
                for ms in (1.8, 2.9, 3.6, 4.4, 5.5, 6.3)
            ],
        },
        "parity": {"max_difference": 1.1e-6, "shapes": [[1, 256], [3, 64]]},
        "timings": {
            "cost table": 41.0,
            "supernet": 120.0,
            "architecture": 38.2,
            "training": 160.4,
            "verification": 12.0,
        },
        "versions": {"dnas": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.32.0", "python": "3.11.9"},
    }


@pytest.fixture(scope="session")
def run() -> RunRecord:
    draw = random.Random(0)
    config = {
        "preset": "standard",
        "seed": 0,
        "budget": {"latency_ms": LIMIT_MS, "memory_mb": LIMIT_MB},
        "steps": 900,
    }
    return RunRecord(finished_result(draw), config, cost_table(), trajectory(draw), scores())


class Page(HTMLParser):
    """What `html.parser` finds in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.sections: list[str] = []
        self.figures: list[dict[str, Any]] = []
        self.words = ""
        self._open: tuple[str, str | None] = ("", None)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        self.links += [known[key] or "" for key in ("src", "href", "srcset", "action") if key in known]
        if tag == "section":
            self.sections.append(str(known["id"]))
        self._open = (tag, known.get("class"))

    def handle_endtag(self, tag: str) -> None:
        self._open = ("", None)

    def handle_data(self, data: str) -> None:
        if self._open == ("script", "figure"):
            self.figures.append(json.loads(data))
        elif self._open[0] not in ("script", "style"):
            self.words += data

    def drawn(self, axis: str, title: str) -> dict[str, Any]:
        """The first figure whose axis is titled so."""
        titles = (f["layout"][axis].get("title", {}).get("text") for f in self.figures)
        return self.figures[list(titles).index(title)]

    def traces(self, x_title: str) -> dict[str, dict[str, Any]]:
        """The traces, by name, of the first figure whose x axis is titled so."""
        return {trace["name"]: trace for trace in self.drawn("xaxis", x_title)["data"]}


@pytest.fixture(scope="session")
def read() -> type[Page]:
    """`read(text)`: the page as a browser takes it apart."""
    return Page
