"""The two levels of the search as loops: weights first and then the architecture, or both in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nas.experts import watch_experts
from nas.loop import State, run_loop
from nas.run import Run, generator
from nas.sampling import FairSampler
from nas.steps import Duals, architecture_step, cosine, set_rate, weight_step
from nas.train import make_optimizer
from search_spaces import Mixture, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nas.cost_table import CostTable
    from nas.progress import Progress
    from nas.settings import Effort
    from nas.supernet import Supernet

PROBABILITIES_EVERY = 5
TEACHER_FROM = 0.5
"""Share of the weight steps before the largest network teaches: until then it knows nothing."""


@dataclass(frozen=True)
class Bilevel:
    """A supernet, what it learns from, and where its progress is kept."""

    run: Run
    supernet: Supernet
    task: Task
    table: CostTable
    limits: Mapping[str, float]
    """What the expected costs are held to, by metric."""
    effort: Effort
    seed: int
    progress: Progress

    def train_weights(self) -> None:
        """Staged, first: weights for the whole cost range."""
        draws = generator(self.seed, "supernet")
        fair = FairSampler.over(self.table)
        optimizer = self._weight_optimizer()
        step = self._weight_step(draws, optimizer, lambda: Mixture.of(fair.sample(draws)))
        state = State({"supernet": self.supernet}, {"weights": optimizer}, draws)
        self._loop(
            "1-supernet", self.effort.supernet_steps, state, lambda i: {"phase": "supernet", **step(i)}
        )

    def learn_architecture(self) -> None:
        """Staged, second: the weights are frozen."""
        draws, duals, optimizer = generator(self.seed, "architecture"), self._duals(), self._alpha_optimizer()
        steps = self.effort.architecture_steps
        step = self._architecture_step(draws, duals, optimizer, steps)
        state = State({"alpha": self.supernet.alpha}, {"alpha": optimizer}, draws, {"duals": duals.values})
        self._loop("2-architecture", steps, state, lambda i: {"phase": "architecture", **step(i)})

    def train_jointly(self) -> None:
        """One step on the weights, along paths that the controller likes, and one on the architecture."""
        draws, duals = generator(self.seed, "joint"), self._duals()
        weights, alpha = self._weight_optimizer(), self._alpha_optimizer()
        weight = self._weight_step(draws, weights, lambda: self.supernet.sample(draws).hard())
        steps = self.effort.supernet_steps
        architecture = self._architecture_step(draws, duals, alpha, steps)
        optimizers = {"weights": weights, "alpha": alpha}
        state = State({"supernet": self.supernet}, optimizers, draws, {"duals": duals.values})
        self._loop("1-joint", steps, state, lambda i: {**weight(i), **architecture(i), "phase": "joint"})

    def _loop(self, name: str, steps: int, state: State, step: Callable[[int], dict[str, object]]) -> None:
        run_loop(self.run, name, steps, state, step, self.progress)

    def _weight_step(
        self, draws: torch.Generator, optimizer: torch.optim.Optimizer, sample: Callable[[], Mixture]
    ) -> Callable[[int], dict[str, object]]:
        effort, largest = self.effort, Mixture.of(self.table.dearest())

        def step(i: int) -> dict[str, object]:
            rate = cosine(i, effort.supernet_steps, effort.learning_rate)
            set_rate(optimizer, rate)
            self.supernet.train()
            batch = self.task.sample("train", effort.batch_size, draws)
            teacher = largest if i >= TEACHER_FROM * effort.supernet_steps else None
            with watch_experts(self.supernet.network, i) as experts:
                losses = weight_step(self.supernet, self.task, batch, sample(), teacher, optimizer)
            return {**losses, **experts, "learning_rate": rate}

        return step

    def _architecture_step(
        self, draws: torch.Generator, duals: Duals, optimizer: torch.optim.Optimizer, steps: int
    ) -> Callable[[int], dict[str, object]]:
        def step(i: int) -> dict[str, object]:
            self.supernet.eval()
            batch = self.task.sample("validation", self.effort.architecture_batch, draws)
            mixture = self.supernet.sample(draws)
            loss, usage = architecture_step(self.supernet, self.task, batch, mixture, duals, optimizer)
            record: dict[str, object] = {
                "loss": loss,
                "expected": {n: u * v for (n, v), u in zip(self.limits.items(), usage.tolist(), strict=True)},
                "duals": dict(zip(self.limits, duals.values.tolist(), strict=True)),
            }
            if i % PROBABILITIES_EVERY == 0 or i + 1 == steps:
                record["probabilities"] = {path: p.tolist() for path, p in mixture.probabilities.items()}
            return record

        return step

    def _duals(self) -> Duals:
        return Duals(torch.zeros(len(self.limits)), self.effort.dual_rate)

    def _weight_optimizer(self) -> torch.optim.Optimizer:
        return make_optimizer(self.supernet.weights(), self.effort.learning_rate)

    def _alpha_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.supernet.architecture_parameters(), lr=self.effort.architecture_rate, betas=(0.5, 0.99)
        )
