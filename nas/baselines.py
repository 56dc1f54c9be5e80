"""What the winner stands beside: random architectures of equal cost, a reference that people know, one option
everywhere, the largest."""

from __future__ import annotations

import itertools
import math
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nas.cost_table import FILLS
from nas.discretise import Scores
from search_spaces import Architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hw_cost_models.cost import Cost
    from nas.bench import Benches
    from nas.budget import Budget
    from nas.cost_table import CostTable

MOST_UNIFORM = 10_000
"""Combinations of options that are gone through for the uniform architecture, of a second or so."""


def random_architectures(
    table: CostTable, budget: Budget, count: int, generator: torch.Generator
) -> list[Architecture]:
    """Different architectures that fill the budget, each the solver's best under a random objective.

    Fewer than `count` only where the budget admits no more.
    """
    found: list[Architecture] = []
    for fill in FILLS:
        problem = table.filled_to(budget, fill)
        for _ in range(4 * count):
            if len(found) == count:
                return found
            draws = torch.randn(len(table.options), generator=generator, dtype=torch.float64).tolist()
            solution = problem.best(Scores(dict(zip(table.options, draws, strict=True))))
            if solution is None:
                break
            if solution.architecture not in found:
                found.append(solution.architecture)
    return found


def uniform_architecture(table: CostTable, budget: Budget) -> Architecture | None:
    """One option everywhere: of those within the budget, the one that uses most of its fullest limit.

    Choices with the same options take the same one, and none of them a skip, which does no work and holds no
    choice. None when no such architecture is within the budget.
    """
    problem, holding = table.problem(budget), set(table.nesting.values())
    working = [
        a for a in _uniform(table) if all(table.options[d].flops > 0 or d in holding for d in a.items())
    ]
    working = [a for a in working if all(rule.allows(a) for rule in table.rules)]
    within = [a for a in working if all(c.of(a) <= c.limit for c in problem.constraints)]
    if not within:
        return None
    return max(within, key=lambda a: max((c.of(a) / c.limit for c in problem.constraints), default=0.0))


def reference_architecture(
    table: CostTable, budget: Budget, references: Mapping[str, Sequence[Architecture]]
) -> tuple[str, Architecture] | None:
    """Of the networks that people know, the largest that is within the budget, and its name.

    That is the one of most parameters, of those the one of most bytes, where it comes in several precisions,
    and then the one that takes longest.
    """
    problem = table.problem(budget)
    within = [
        (name, architecture)
        for name, sizes in references.items()
        for architecture in sizes
        if all(c.of(architecture) <= c.limit for c in problem.constraints)
        and all(rule.allows(architecture) for rule in table.rules)
    ]
    return max(within, key=lambda found: _size(table.cost(found[1])), default=None)


def _size(cost: Cost) -> tuple[float, float, float]:
    return cost.parameters, cost.weight_bytes, cost.latency_ms


def _uniform(table: CostTable) -> Iterator[Architecture]:
    """All that there are, or of too many for that, so many drawn at random: the same in every run."""
    groups = list(dict.fromkeys(table.choices.values()))
    combinations: Iterable[tuple[str, ...]] = itertools.product(*groups)
    if math.prod(map(len, groups)) > MOST_UNIFORM:
        draws = Random(0)
        combinations = (tuple(map(draws.choice, groups)) for _ in range(MOST_UNIFORM))
    for combination in combinations:
        option = dict(zip(groups, combination, strict=True))
        taken: dict[str, str] = {}
        for path, options in table.choices.items():
            outer = table.nesting.get(path)
            if outer is None or taken.get(outer[0]) == outer[1]:
                taken[path] = option[options]
        yield Architecture(taken)


def drawn_baselines(
    table: CostTable,
    budget: Budget,
    count: int,
    generator: torch.Generator,
    references: Mapping[str, Sequence[Architecture]],
    shared_losses: Callable[[list[Architecture]], list[float]],
    benches: Benches | None,
) -> dict[str, Any]:
    """Random architectures, the best of them, a reference, the uniform one and the largest, scored in shared
    weights.

    All but the random ones are measured, where the device is here; by name, as plain JSON.
    """
    drawn = random_architectures(table, budget, count, generator)
    known, reference = reference_architecture(table, budget, references) or ("", None)
    uniform = uniform_architecture(table, budget)
    named = {"reference": reference, "uniform": uniform, "largest": table.dearest()}
    others = {name: a for name, a in named.items() if a is not None}
    architectures = [*drawn, *others.values()]
    losses = shared_losses(architectures)
    entries: list[dict[str, Any]] = [
        {"architecture": dict(a), "predicted": table.figures(a), "shared_loss": loss}
        for a, loss in zip(architectures, losses, strict=True)
    ]
    random = entries[: len(drawn)]
    best = {"best_random": random[int(np.argmin(losses[: len(random)]))]} if random else {}
    rivals = {**best, **dict(zip(others, entries[len(drawn) :], strict=True))}
    if "reference" in rivals:
        rivals["reference"]["name"] = known
    return {"random": random, **_with_measurements(rivals, benches)}


def to_train(baselines: Mapping[str, Any]) -> dict[str, Architecture]:
    """Those that are trained as the winner is: the best random one, and the reference or, without one, the
    uniform one."""
    left_out = {"random", "largest", *(["uniform"] if "reference" in baselines else [])}
    return {name: Architecture(b["architecture"]) for name, b in baselines.items() if name not in left_out}


def _with_measurements(
    rivals: dict[str, dict[str, Any]], benches: Benches | None
) -> dict[str, dict[str, Any]]:
    if benches is None:
        return {name: {**entry, "measured": None} for name, entry in rivals.items()}
    architectures = [Architecture(entry["architecture"]) for entry in rivals.values()]
    figures = benches.architectures(list(dict.fromkeys(architectures)), seed=0)
    measured = dict(zip(dict.fromkeys(architectures), figures, strict=True))
    return {
        name: {**entry, "measured": measured[architecture]}
        for (name, entry), architecture in zip(rivals.items(), architectures, strict=True)
    }
