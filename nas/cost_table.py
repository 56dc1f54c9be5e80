"""Cost table: what every option of every choice costs on a device, and the rest of the network.

    latency(architecture) = fixed + sum of its options' latencies
    memory(architecture)  = all weights + the largest peak of activations of any part

The table is data: it predicts, it becomes the solver's constraints, and it takes corrections from whole
architectures that were measured. How it comes about is in pricing.py.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hw_cost_models.cost import Cost, Kind, Workload
from nas.budget import METRICS, Budget, Metric, Statistic, metric
from nas.calibration import Calibration, Lift
from nas.discretise import Constraint, Decision, Problem, Scores
from nas.errors import BadInputError
from search_spaces import Architecture
from search_spaces.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping


FILLS = (0.95, 0.9, 0.8, 0.6, 0.0)
"""Fractions of a limit that an architecture is asked to use, the highest that is possible first."""


@dataclass(frozen=True)
class Correction:
    """A whole architecture was measured above its prediction: its options became dearer."""

    architecture: Architecture
    metric: str
    predicted: float
    measured: float
    limit: float | None = None
    attempt: int | None = None

    def to_dict(self) -> dict[str, object]:
        return {
            "architecture": dict(self.architecture),
            "metric": self.metric,
            "predicted": self.predicted,
            "measured": self.measured,
            "limit": self.limit,
            "attempt": self.attempt,
        }


@dataclass(frozen=True)
class CostTable:
    """Costs of one workload on one device, in the statistic that limits are stated in."""

    device: str
    threads: int
    workload: Workload
    statistic: Statistic
    options: Mapping[Decision, Cost]
    nesting: Mapping[str, Decision | None]
    fixed: Cost
    calibration: Calibration
    corrections: tuple[Correction, ...] = ()
    rules: tuple[Rule, ...] = ()
    """Of the space: what every architecture obeys."""
    beside: Mapping[Kind, CostTable] = field(default_factory=dict)
    """The same space under workloads of other kinds."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What the table can tell."""
        kinds = {self.workload.kind, *self.beside}
        priced = {"energy_mj"} if any(cost.energy_mj for cost in self.options.values()) else set()
        return tuple(m for m in METRICS if m.kind in kinds and (m.name != "energy_mj" or m.name in priced))

    def of(self, kind: Kind) -> CostTable:
        """The table of that kind of workload."""
        return self if kind == self.workload.kind else self.beside[kind]

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for path, option in self.options:
            found[path] = (*found.get(path, ()), option)
        return found

    def cost(self, architecture: Architecture) -> Cost:
        """Under this table's own workload."""
        return sum((self.options[decision] for decision in architecture.items()), start=self.fixed)

    def figures(self, architecture: Architecture) -> dict[str, float]:
        """Every metric of an architecture, as predicted."""
        costs = {kind: self.of(kind).cost(architecture) for kind in (self.workload.kind, *self.beside)}
        return {metric.name: metric.of(costs[metric.kind]) for metric in self.metrics}

    def constraint(self, metric: Metric, limit: float) -> Constraint:
        """Raises BadInputError where the device's profile does not tell the metric."""
        if metric not in self.metrics:
            raise BadInputError(
                f"{metric.name}: device {self.device!r} tells no {metric.title}; "
                f"limit {', '.join(m.name for m in self.metrics)}"
            )
        table = self.of(metric.kind)
        return Constraint(
            metric.name,
            limit,
            {d: metric.additive(cost) for d, cost in table.options.items()},
            metric.additive(table.fixed),
            {d: metric.peak(cost) for d, cost in table.options.items()},
            metric.peak(table.fixed),
        )

    def problem(self, budget: Budget) -> Problem:
        limits = tuple(self.constraint(m, v) for m, v in budget.items())
        return Problem(self.choices, limits, self.nesting, self.rules)

    def filled_to(self, budget: Budget, fill: float) -> Problem:
        """The budget, and a lower bound on the use of its first limit, as a fraction."""
        problem = self.problem(budget)
        first = next(iter(problem.constraints), None)
        if first is None or fill == 0.0:
            return problem
        at_least = Constraint(
            f"{first.name} used",
            -fill * first.limit,
            {decision: -cost for decision, cost in first.additive.items()},
            -first.fixed,
        )
        return replace(problem, constraints=(*problem.constraints, at_least))

    def filled(self, budget: Budget) -> Problem:
        """The budget, filled as far as that is possible."""
        problems = (self.filled_to(budget, fill) for fill in FILLS)
        return next((p for p in problems if p.best(Scores({})) is not None), self.problem(budget))

    def lifted(self, lift: Lift) -> CostTable:
        """The latencies of another moment."""
        options = {d: replace(c, latency_ms=lift.factor * c.latency_ms) for d, c in self.options.items()}
        return replace(
            self,
            options=options,
            fixed=replace(self.fixed, latency_ms=lift.of(self.fixed.latency_ms)),
            calibration=replace(self.calibration, latency=self.calibration.latency.lifted(lift)),
        )

    def dearest(self) -> Architecture:
        """The architecture of the highest latency: the teacher, and the top of the cost range.

        Raises InfeasibleBudgetError where the rules of the space clash.
        """
        problem = self.problem(Budget())
        problem.check_feasible()
        solution = problem.best(Scores({d: c.latency_ms for d, c in self.options.items()}))
        assert solution is not None
        return solution.architecture

    def corrected(self, correction: Correction) -> CostTable:
        """Makes the parts of a measured architecture dearer; a cost never goes down.

        A miss in latency raises them in proportion; what is counted is exact, and only cut off.
        """
        if correction.measured <= correction.predicted:
            return self
        recorded, kind = (
            replace(self, corrections=(*self.corrections, correction)),
            metric(correction.metric).kind,
        )
        if kind == self.workload.kind:
            return recorded._dearer(correction)
        return replace(recorded, beside={**self.beside, kind: self.of(kind)._dearer(correction)})

    def _dearer(self, correction: Correction) -> CostTable:
        if metric(correction.metric).timed:
            factor, taken = correction.measured / correction.predicted, set(correction.architecture.items())
            options = {d: _slower(c, factor) if d in taken else c for d, c in self.options.items()}
            return replace(self, options=options, fixed=_slower(self.fixed, factor))
        if correction.metric == "memory_mb":
            return replace(self, options=self._larger(correction))
        return self

    def _larger(self, correction: Correction) -> dict[Decision, Cost]:
        """Raises the peak of the largest option taken, wherever else the same option stands, too."""
        working = [c for c in map(self.options.get, correction.architecture.items()) if c and c.flops]
        largest = max((c.peak_activation_bytes for c in working), default=0.0)
        culprits = {c for c in working if c.peak_activation_bytes == largest}
        missed = math.ceil((correction.measured - correction.predicted) * 1e6)
        peak = max(self.fixed.peak_activation_bytes, largest) + missed
        return {
            d: replace(c, peak_activation_bytes=peak) if c in culprits else c for d, c in self.options.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The public form: `nas cost --json` and the run's `cost_table.json`."""
        paths: dict[str, dict[str, dict[str, float]]] = {}
        for (path, option), cost in self.options.items():
            paths.setdefault(path, {})[option] = _readable(cost)
        return {
            "device": self.device,
            "threads": self.threads,
            "workload": asdict(self.workload),
            "statistic": self.statistic,
            "choices": paths,
            "nesting": {path: outer and list(outer) for path, outer in self.nesting.items()},
            "fixed": _readable(self.fixed),
            "calibration": self.calibration.to_dict(),
            "corrections": [correction.to_dict() for correction in self.corrections],
            "rules": [rule.to_dict() for rule in self.rules],
            "beside": {kind: table.to_dict() for kind, table in self.beside.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CostTable:
        return cls(
            device=data["device"],
            threads=data["threads"],
            workload=Workload(**data["workload"]),
            statistic=data["statistic"],
            options={(p, o): _cost(c) for p, options in data["choices"].items() for o, c in options.items()},
            nesting={path: outer and (outer[0], outer[1]) for path, outer in data["nesting"].items()},
            fixed=_cost(data["fixed"]),
            calibration=Calibration.from_dict(data["calibration"]),
            corrections=tuple(
                Correction(**{**c, "architecture": Architecture(c["architecture"])})
                for c in data["corrections"]
            ),
            rules=tuple(map(Rule.from_dict, data["rules"])),
            beside={kind: cls.from_dict(table) for kind, table in data["beside"].items()},
        )


def _slower(cost: Cost, factor: float) -> Cost:
    return replace(cost, latency_ms=cost.latency_ms * factor)


def _readable(cost: Cost) -> dict[str, float]:
    """Energy and state only where there are any."""
    told = {"energy_mj": cost.energy_mj, "state_mb": cost.state_bytes / 1e6}
    return {
        "latency_ms": cost.latency_ms,
        "weight_mb": cost.weight_bytes / 1e6,
        "peak_activation_mb": cost.peak_activation_bytes / 1e6,
        "params_m": cost.parameters / 1e6,
        "flops": cost.flops,
        **{name: figure for name, figure in told.items() if figure},
    }


def _cost(data: Mapping[str, float]) -> Cost:
    """Bytes and parameters are whole numbers: rounding makes the way there and back exact."""
    return Cost(
        latency_ms=data["latency_ms"],
        weight_bytes=round(data["weight_mb"] * 1e6),
        peak_activation_bytes=round(data["peak_activation_mb"] * 1e6),
        parameters=round(data["params_m"] * 1e6),
        flops=data["flops"],
        energy_mj=data.get("energy_mj", 0.0),
        state_bytes=round(data.get("state_mb", 0.0) * 1e6),
    )
