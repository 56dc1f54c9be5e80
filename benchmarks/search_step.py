"""What does a single-path step of the supernet cost beside the same path as a plain network?

    python benchmarks/search_step.py [--rounds 30]

Both train on the same batch, in interleaved rounds. The second figure is what a forward keeps alive for the
backward (bytes of saved tensors), as the choices grow from 2 to 28 options.
"""

from __future__ import annotations

import argparse
import random
import time
from statistics import median
from typing import TYPE_CHECKING

import torch
from common import save
from torch import nn

from nas.sampling import random_architecture
from nas.steps import descend
from nas.supernet import Supernet, run_with_auxiliary
from nas.train import make_optimizer
from search_spaces import Architecture, ByteText, Choice, Mixture, choices, hybrid_lm, select

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def step(
    run: Callable[[], tuple[torch.Tensor, torch.Tensor]],
    module: nn.Module,
    target: torch.Tensor,
    task: ByteText,
) -> Callable[[], None]:
    """A weight step without distillation, whose extra forward is not the supernet's doing."""
    optimizer = make_optimizer(module.parameters(), 1e-4)

    def once() -> None:
        output, auxiliary = run()
        descend(task.loss(output, target) + auxiliary, optimizer, module.parameters())

    return once


def ratio(rounds: int, pairs: int = 6) -> list[dict[str, float]]:
    space, task = hybrid_lm(), ByteText()
    supernet, generator = Supernet(space.network), torch.Generator().manual_seed(0)
    inputs, target = task.sample("train", 8, generator)
    results = []
    for _ in range(pairs):
        architecture = random_architecture(space.network, generator)
        plain = select(space.network, architecture)
        mixture = Mixture.of(architecture)
        runs = {
            "supernet": step(lambda m=mixture: supernet(inputs, m), supernet.network, target, task),
            "plain": step(lambda p=plain: run_with_auxiliary(p, inputs), plain, target, task),
        }
        ms = interleaved(runs, rounds)
        results.append({**ms, "ratio": ms["supernet"] / ms["plain"]})
        print(f"supernet {ms['supernet']:7.1f} ms   plain {ms['plain']:7.1f} ms   {results[-1]['ratio']:.3f}")
    return results


def interleaved(runs: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    rng = random.Random(0)
    for number in range(rounds + 3):
        for name in rng.sample(list(runs), len(runs)):
            began = time.perf_counter()
            runs[name]()
            if number >= 3:
                times[name].append((time.perf_counter() - began) * 1e3)
    return {name: median(values) for name, values in times.items()}


def saved_bytes(copies: int) -> int:
    """Bytes that a single-path forward keeps for its backward, each option of the space present in copies."""
    space, task = hybrid_lm(), ByteText()
    for layer in space.network.layers:
        for name, choice in layer.named_children():
            setattr(
                layer,
                name,
                Choice({f"{o}-{i}": choice.extract(o) for i in range(copies) for o in choice.options}),
            )
    taken = {
        path: ("swiglu_2x-0" if "feedforward" in path else "attention-0") for path in choices(space.network)
    }
    inputs, _ = task.sample("train", 8, torch.Generator().manual_seed(0))
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output, _ = Supernet(space.network)(inputs, Mixture.of(Architecture(taken)))
    del output
    return sum(sizes.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rows = ratio(parser.parse_args().rounds)
    memory = {7 * copies: saved_bytes(copies) for copies in (1, 2, 4)}
    worst = max(row["ratio"] for row in rows)
    print(f"\nlargest ratio {worst:.3f}; bytes kept for the backward by options a choice: {memory}")
    save("search_step", {"steps": rows, "largest_ratio": worst, "saved_bytes_by_options": memory})


if __name__ == "__main__":
    main()
