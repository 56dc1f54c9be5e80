"""What a search is asked to do: effort, presets, and the settings stored in its run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from hw_cost_models.cost import Workload
from hw_cost_models.device import load_device
from nas.budget import Budget, Statistic
from nas.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hw_cost_models.device import Device

Schedule = Literal["staged", "joint"]

FEWEST_EVALUATIONS = 10
"""Scores are fitted on some and judged on others."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much work each phase does. Counted in steps and never in seconds, so that a seed repeats a run.

    Raises BadInputError for a value that is not positive, and for fewer evaluations than can be fitted.
    """

    supernet_steps: int
    batch_size: int
    learning_rate: float = 6e-3
    architecture_steps: int
    architecture_batch: int
    architecture_rate: float = 0.1
    dual_rate: float = 0.02
    evaluations: int
    """Architectures whose shared-weight loss the scores are fitted to."""
    evaluation_batch: int = 8
    evaluation_batches: int
    """Of an evaluation; ranking candidates takes four times as many."""
    candidates: int
    """How many the scores and the controller propose each."""
    tuning_steps: int
    """Steps that a candidate is trained for on its own before it is ranked."""
    measured: int
    """How many of the best-ranked candidates are measured in one attempt."""
    random_architectures: int = 20
    train_steps: int
    rounds: int = 40
    """Timing rounds of options and candidates, and of each verifying process."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (value > 0 and math.isfinite(value)):
                raise BadInputError(f"effort.{field.name}: {value} is not a positive number")
        if self.evaluations < FEWEST_EVALUATIONS:
            raise BadInputError(
                f"effort.evaluations: {self.evaluations} is not enough to fit scores; "
                f"give at least {FEWEST_EVALUATIONS}"
            )

    def scaled(self, examples: int) -> Effort:
        """With so many times the examples in every batch: a text says as much as many small images do."""
        return replace(
            self,
            batch_size=examples * self.batch_size,
            architecture_batch=examples * self.architecture_batch,
            evaluation_batch=examples * self.evaluation_batch,
        )


_STANDARD = Effort(
    supernet_steps=1200,
    batch_size=4,
    architecture_steps=300,
    architecture_batch=8,
    evaluations=240,
    evaluation_batches=4,
    candidates=6,
    tuning_steps=60,
    measured=4,
    train_steps=400,
)

CONTEXT = 1024
"""How many tokens a limit on prefill or decode is for, where nothing is said."""

PRESETS: Mapping[str, Effort] = {
    "quick": replace(
        _STANDARD,
        supernet_steps=400,
        architecture_steps=120,
        evaluations=120,
        evaluation_batches=2,
        candidates=4,
        tuning_steps=25,
        measured=3,
        train_steps=120,
        rounds=30,
    ),
    "standard": _STANDARD,
    "thorough": replace(
        _STANDARD,
        supernet_steps=12000,
        architecture_steps=2000,
        evaluations=600,
        evaluation_batches=8,
        candidates=12,
        tuning_steps=500,
        measured=6,
        random_architectures=40,
        train_steps=6000,
        rounds=60,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides the outcome of a run, given its data and the figures that it measures."""

    space: str
    task: str
    data: str | None
    """Path of the data, None for the task's own."""
    device: str
    threads: int
    runtime: str
    provider: str
    workload: Workload
    statistic: Statistic
    budget: Budget | None
    """None: half of the dearest architecture's latency."""
    context: int
    """Tokens of the prompt that is prefilled, and before the token that is decoded."""
    preset: str
    effort: Effort
    controller: str
    schedule: Schedule
    seed: int
    training_threads: int
    origin: str | None = None
    """Of a person's own space: the `module:function` that returns it."""
    precisions: tuple[str, ...] = ()
    """What every option was given a choice of, on the command line."""

    def profile(self) -> Device:
        """The device as it was asked for."""
        return load_device(self.device, threads=self.threads, runtime=self.runtime, provider=self.provider)

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """What is priced: the forward, and what else the budget limits."""
        kinds = self.budget.kinds[1:] if self.budget else ()
        return (self.workload, *(Workload(self.workload.batch, self.context, kind) for kind in kinds))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        return cls(
            **{
                **data,
                "workload": Workload(**data["workload"]),
                "budget": None if data["budget"] is None else Budget(**data["budget"]),
                "effort": Effort(**data["effort"]),
                "precisions": tuple(data.get("precisions", ())),
            }
        )
