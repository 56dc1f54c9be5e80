"""What does a step at one width of an elastic block cost, and one over eight widths at once?

    python benchmarks/elastic_step.py [--rounds 30]

A step is a forward and a backward to the input, the weights and the mixture. For each of eight sizes: the
slice, and a plain block built at that size; beside them one masked step over all eight. `frozen` is a step
that asks for no gradient of weights. All of a block in interleaved rounds, the 10th percentile of each;
ratios are to the plain block of the largest size.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from common import save
from torch import Tensor, nn

from search_spaces import Choice, Mixture, Slice, bind
from search_spaces.blocks import MLP, Attention, MBConv, MixtureOfExperts, SwiGLU

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WIDTH = 256
WARM_UP = 3


@dataclass(frozen=True)
class Family:
    """A block in eight sizes: the arguments of its slices, and how to build one at such a size."""

    sizes: Sequence[dict[str, int]]
    build: Callable[..., nn.Module]
    shape: tuple[int, ...] = (4, 256, WIDTH)
    """Of the input."""


FAMILIES: Mapping[str, Family] = {
    "MLP hidden": Family([{"hidden": 128 * i} for i in range(1, 9)], lambda hidden: MLP(WIDTH, hidden)),
    "SwiGLU hidden": Family([{"hidden": 128 * i} for i in range(1, 9)], lambda hidden: SwiGLU(WIDTH, hidden)),
    "Attention heads": Family(
        [{"heads": i, "kv_heads": i} for i in range(1, 9)],
        lambda heads, kv_heads: Attention(WIDTH, heads, kv_heads, head_width=WIDTH // 8),
    ),
    "Attention key heads": Family(
        [
            {"heads": h, "kv_heads": k}
            for h, k in [(4, 1), (4, 2), (4, 4), (6, 2), (6, 3), (8, 1), (8, 2), (8, 8)]
        ],
        lambda heads, kv_heads: Attention(WIDTH, heads, kv_heads, head_width=WIDTH // 8),
    ),
    "experts": Family(
        [{"experts": i, "hidden": WIDTH} for i in range(2, 10)],
        lambda experts, hidden: MixtureOfExperts(WIDTH, hidden, experts, active=2),
    ),
    "experts hidden": Family(
        [{"experts": 4, "hidden": 64 * i} for i in range(1, 9)],
        lambda experts, hidden: MixtureOfExperts(WIDTH, hidden, experts, active=2),
    ),
    "MBConv channels": Family(
        [{"hidden": 32 * i} for i in range(1, 9)],
        lambda hidden: MBConv(32, 32, kernel=5, expansion=hidden // 32, excited=True),
        shape=(8, 32, 28, 28),
    ),
}


def step(module: nn.Module, x: Tensor, leaves: Sequence[Tensor]) -> None:
    torch.autograd.grad(module(x).sum(), leaves, allow_unused=True)


def measure(family: Family, rounds: int) -> dict[str, object]:
    names = ["-".join(map(str, size.values())) for size in family.sizes]
    plain = [family.build(**size) for size in family.sizes]
    whole = family.build(**family.sizes[-1])
    options = {name: Slice(whole, **size) for name, size in zip(names[:-1], family.sizes, strict=False)}
    choice = Choice({**options, names[-1]: whole})
    x = torch.randn(family.shape, requires_grad=True)
    alpha = torch.zeros(len(names), requires_grad=True)

    def one(name: str) -> None:
        step(bind(choice, Mixture({"": {name: None}})), x, (x, *whole.parameters()))

    def all_at_once(*weights: Tensor) -> None:
        mixture = dict(zip(names, alpha.softmax(0).unbind(), strict=True))
        step(bind(choice, Mixture({"": mixture})), x, (x, alpha, *weights))

    runs: dict[str, Callable[[], None]] = {
        "masked": lambda: all_at_once(*whole.parameters()),
        "masked, frozen": all_at_once,
        "widest, frozen": lambda: step(plain[-1], x, (x,)),
    }
    for name, block in zip(names, plain, strict=True):
        runs[f"slice {name}"] = lambda name=name: one(name)
        runs[f"plain {name}"] = lambda block=block: step(block, x, (x, *block.parameters()))
    ms = interleaved(runs, rounds)
    widest = ms[f"plain {names[-1]}"]
    slices = {n: ms[f"slice {n}"] / ms[f"plain {n}"] for n in names}
    return {
        "widest_ms": widest,
        "all_at_once_to_widest": ms["masked"] / widest,
        "frozen_all_at_once_to_widest": ms["masked, frozen"] / ms["widest, frozen"],
        "slice_to_widest": {n: ms[f"slice {n}"] / widest for n in names},
        "slice_to_plain": slices,
        "largest_slice_to_plain": max(slices.values()),
    }


def interleaved(runs: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """The 10th percentile of each, in ms; every round runs each once, in random order."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    rng = random.Random(0)
    for number in range(WARM_UP + rounds):
        for name in rng.sample(list(runs), len(runs)):
            began = time.perf_counter()
            runs[name]()
            if number >= WARM_UP:
                times[name].append((time.perf_counter() - began) * 1e3)
    return {name: float(np.percentile(values, 10)) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    torch.set_num_threads(1)
    figures = {}
    for name, family in FAMILIES.items():
        figures[name] = measure(family, rounds)
        ratios = {key: value for key, value in figures[name].items() if isinstance(value, float)}
        print(f"{name:20}", "  ".join(f"{key} {value:.3f}" for key, value in ratios.items()))
    save("elastic_step", {"rounds": rounds, "blocks": figures})


if __name__ == "__main__":
    main()
