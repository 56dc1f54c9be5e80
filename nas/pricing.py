"""Pricing: from a search space and a cost model to a cost table.

Options are priced alone, where each carries the runtime's overhead of a session; an identity priced beside
them gives that overhead. A few whole architectures in the same rounds then fit

    whole[j]  ~  fixed + sum_o n[j,o] cost[o],       cost[o] = scale * (alone[o] - overhead) * (1 + e[o])

by relative least squares, where n[j,o] counts option o in architecture j and a prior keeps e small: it takes
up what an option costs among its neighbours and not alone (caches, fusion across borders). Each whole
architecture left out in turn gives the residual, by which the solver aims below a limit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from hw_cost_models.latency_table import LatencyTable, structure_key
from hw_cost_models.roofline import RooflineModel
from scipy.optimize import lsq_linear
from torch import Tensor, nn

from hw_cost_models.cost import Cost, CostModel, Item, Workload
from hw_cost_models.trace import static_cost
from nas.cost_table import Calibration, CostTable
from nas.sampling import random_architecture
from search_spaces import (
    Architecture,
    Mixture,
    SearchSpace,
    bind,
    capture_inputs,
    choices,
    finalised,
    parents,
    select,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hw_cost_models.device import Device
    from hw_cost_models.measure import Timing
    from nas.budget import Statistic
    from nas.discretise import Decision
    from nas.progress import Progress

WHOLE_ARCHITECTURES = 10
OPTION_PRIOR = 0.05
"""Prior standard deviation of e[o]: an option alone differs from the option in place by a few per cent."""
NOISE = 0.01
"""Standard deviation of the relative error of one whole architecture in interleaved rounds."""


def price_on(
    device: Device,
    space: SearchSpace,
    workload: Workload,
    statistic: Statistic,
    *,
    rounds: int,
    progress: Progress,
) -> tuple[CostTable, dict[str, Timing]]:
    """Measured where the device is this machine, by roofline elsewhere; with the anchors' timings today."""
    if device.roofline is not None:
        return price_space(space, RooflineModel(device), device, workload, statistic), {}

    def report(done: int, total: int) -> None:
        if done == 1:
            progress.start(total)
        progress.advance()

    measured = LatencyTable(device, dynamic=space.dynamic, rounds=rounds, progress=report)
    table = price_space(space, measured, device, workload, statistic)
    for warning in measured.warnings:
        progress.note(warning)
    return table, dict(measured.anchors)


@dataclass(frozen=True)
class _Part:
    """An option as it is priced: alone, inner choices at their first option, which is taken off again."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    key: str
    inner: tuple[Decision, ...]


def price_space(
    space: SearchSpace,
    model: CostModel,
    device: Device,
    workload: Workload,
    statistic: Statistic = "p50",
) -> CostTable:
    """The cost table of a space; `statistic` is the one that limits are stated in."""
    space.network.eval()
    inputs = space.example_inputs(workload.batch, workload.length)
    parts = _parts(space, inputs)
    wholes = whole_architectures(space, inputs)
    identities = {
        f"identity/{part.inputs[0].shape}": (nn.Identity(), part.inputs[:1]) for part in parts.values()
    }
    items: dict[str, Item] = {
        **{part.key: (part.module, part.inputs) for part in parts.values()},
        **identities,
        **{whole.name: (finalised(select(space.network, whole)), inputs) for whole in wholes},
    }
    alone = model.price(items)
    in_statistic = model.price({whole.name: items[whole.name] for whole in wholes}, statistic)

    options = {
        decision: _without_inner(
            _without_overhead(alone[part.key], alone[f"identity/{part.inputs[0].shape}"]),
            [alone[parts[inner].key] for inner in part.inner],
        )
        for decision, part in parts.items()
    }
    fit = _Fit.of(
        options, {d: p.key for d, p in parts.items()}, wholes, [in_statistic[w.name] for w in wholes]
    )
    solved = fit.solve()
    predicted = [fit.without(j).solve().predict(fit, j) for j in range(len(wholes))]
    return CostTable(
        device=device.name,
        threads=device.threads,
        workload=workload,
        statistic=statistic,
        options={d: replace(c, latency_ms=solved.option_ms[parts[d].key]) for d, c in options.items()},
        nesting=parents(space.network),
        fixed=_fixed(options, wholes, [alone[w.name] for w in wholes], solved.fixed_ms),
        calibration=Calibration(tuple(predicted), tuple(fit.measured)),
    )


def _parts(space: SearchSpace, inputs: tuple[Tensor, ...]) -> dict[Decision, _Part]:
    captured = capture_inputs(space.network, inputs)
    found, nesting = choices(space.network), parents(space.network)
    parts = {}
    for path, choice in found.items():
        for name in choice.options:
            module, inner = choice.option(name), _first_inner((path, name), found, nesting)
            if inner:
                relative = choices(module)
                below = [p for p in found if _depends_on(p, (path, name), nesting)]
                full = dict(zip(relative, below, strict=True))
                chosen = dict(inner)
                taken = {r: {chosen[p]: None} for r, p in full.items() if p in chosen}
                module = bind(module, Mixture(taken))
            module = finalised(module)
            key = structure_key(module, captured[path])
            parts[path, name] = _Part(module, captured[path], key, tuple(inner))
    return parts


def _depends_on(path: str, decision: Decision, nesting: Mapping[str, Decision | None]) -> bool:
    outer = nesting[path]
    return outer is not None and (outer == decision or _depends_on(outer[0], decision, nesting))


def _first_inner(
    decision: Decision, found: Mapping[str, object], nesting: Mapping[str, Decision | None]
) -> list[Decision]:
    """The choices reached inside an option when each takes its first option."""
    taken: list[Decision] = []
    for path, choice in found.items():
        if nesting[path] == decision or nesting[path] in taken:
            taken.append((path, choice.options[0]))  # type: ignore[attr-defined]  # every value is a Choice
    return taken


def whole_architectures(space: SearchSpace, inputs: tuple[Tensor, ...]) -> list[Architecture]:
    """Random ones from all over the range of FLOPs, which the table is fitted to: the same in every run."""
    flops = {d: static_cost(part.module, part.inputs).flops for d, part in _parts(space, inputs).items()}
    generator = torch.Generator().manual_seed(0)
    drawn = {random_architecture(space.network, generator) for _ in range(200)}
    ordered = sorted(drawn, key=lambda a: (sum(flops[d] for d in a.items()), a.name))
    spread = np.linspace(0, len(ordered) - 1, min(WHOLE_ARCHITECTURES, len(ordered))).round().astype(int)
    return [ordered[i] for i in spread]


def _without_overhead(cost: Cost, identity: Cost) -> Cost:
    return replace(cost, latency_ms=max(0.0, cost.latency_ms - identity.latency_ms))


def _without_inner(cost: Cost, inner: list[Cost]) -> Cost:
    """What an option costs apart from the choices inside it."""
    return replace(
        cost,
        latency_ms=max(0.0, cost.latency_ms - sum(c.latency_ms for c in inner)),
        flops=cost.flops - sum(c.flops for c in inner),
        weight_bytes=cost.weight_bytes - sum(c.weight_bytes for c in inner),
        parameters=cost.parameters - sum(c.parameters for c in inner),
    )


def _fixed(
    options: Mapping[Decision, Cost], wholes: list[Architecture], costs: list[Cost], latency_ms: float
) -> Cost:
    """The rest of the network: what is counted is exact, whichever whole architecture it is taken from."""
    whole, taken = costs[0], [options[d] for d in wholes[0].items()]
    return Cost(
        latency_ms=latency_ms,
        flops=whole.flops - sum(c.flops for c in taken),
        weight_bytes=whole.weight_bytes - sum(c.weight_bytes for c in taken),
        parameters=whole.parameters - sum(c.parameters for c in taken),
        peak_activation_bytes=min(c.peak_activation_bytes for c in costs),
    )


@dataclass(frozen=True)
class _Solved:
    fixed_ms: float
    option_ms: dict[str, float]

    def predict(self, fit: _Fit, j: int) -> float:
        return self.fixed_ms + sum(n * self.option_ms[key] for key, n in fit.counts[j].items())


@dataclass(frozen=True)
class _Fit:
    """The least-squares problem of this module's docstring; options of one structure share one cost."""

    alone: Mapping[str, float]
    counts: list[Counter[str]]
    measured: list[float]

    @classmethod
    def of(
        cls,
        options: Mapping[Decision, Cost],
        keys: Mapping[Decision, str],
        wholes: list[Architecture],
        costs: list[Cost],
    ) -> _Fit:
        alone = {keys[d]: cost.latency_ms for d, cost in options.items()}
        counts = [Counter(keys[d] for d in whole.items()) for whole in wholes]
        return cls(alone, counts, [cost.latency_ms for cost in costs])

    def without(self, j: int) -> _Fit:
        return replace(
            self,
            counts=self.counts[:j] + self.counts[j + 1 :],
            measured=self.measured[:j] + self.measured[j + 1 :],
        )

    def solve(self) -> _Solved:
        """Unknowns: fixed, scale, and e[o] of each structure."""
        alone = np.array(list(self.alone.values()))
        counted = np.array([[c[key] for key in self.alone] for c in self.counts]) * alone
        measured = np.array(self.measured)
        ones = np.ones((len(measured), 1))
        rows = np.hstack([ones, counted.sum(1, keepdims=True), counted]) / (NOISE * measured[:, None])
        prior = np.hstack([np.zeros((len(alone), 2)), np.eye(len(alone)) / OPTION_PRIOR])
        lower = np.r_[0.0, 0.0, np.full(len(alone), -0.5)]
        upper = np.r_[np.inf, np.inf, np.full(len(alone), 0.5)]
        target = np.r_[np.full(len(measured), 1 / NOISE), np.zeros(len(alone))]
        fixed, scale, *e = lsq_linear(np.vstack([rows, prior]), target, (lower, upper)).x
        cost = np.maximum(0.0, (scale + np.array(e)) * alone)
        return _Solved(float(fixed), dict(zip(self.alone, cost.tolist(), strict=True)))
