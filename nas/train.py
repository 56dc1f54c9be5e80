"""Training of one architecture: the winner, and everything it is compared with, in exactly the same way."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from nas.batch_norms import recalibrated
from nas.evaluate import evaluate
from nas.experts import watch_experts
from nas.loop import State, run_loop
from nas.run import Run, generator
from nas.steps import cosine, descend, set_rate
from nas.supernet import run_with_auxiliary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nas.progress import Progress
    from search_spaces import Task
    from search_spaces.space import Batch


LOOKS = 10
"""How often a network is judged while it trains."""


@dataclass(frozen=True)
class Training:
    """How long and how fast; `seed` fixes the batches, which are the same for every network of a run."""

    steps: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Trained:
    network: nn.Module
    losses: dict[str, float]
    precisions: dict[str, float] = field(default_factory=dict)
    """Where the space has a choice of precision: the metric on test data in each of them."""


def make_optimizer(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01)


def tuned_loss(network: nn.Module, task: Task, training: Training, batches: Sequence[Batch]) -> float:
    """Validation loss of a plain network after a short training of its own, which is then forgotten."""
    draws = generator(training.seed, "tuning")  # the same batches for every network
    optimizer = make_optimizer(network.parameters(), training.learning_rate)
    network.train()
    for i in range(training.steps):
        set_rate(optimizer, cosine(i, training.steps, training.learning_rate, warm_up=training.steps // 5))
        _step(network, task, training, optimizer, draws)
    return evaluate(recalibrated(network, task), task, batches)


def _step(
    network: nn.Module,
    task: Task,
    training: Training,
    optimizer: torch.optim.Optimizer,
    draws: torch.Generator,
) -> float:
    inputs, target = task.sample("train", training.batch_size, draws)
    output, auxiliary = run_with_auxiliary(network, inputs)
    loss = task.loss(output, target)
    descend(loss + auxiliary, optimizer, network.parameters())
    return loss.item()


def train(
    network: nn.Module,
    task: Task,
    training: Training,
    validation: Sequence[Batch],
    run: Run,
    name: str,
    progress: Progress,
) -> None:
    """Trains a plain network in place, from the weights it has; goes on from the run's checkpoint.

    After every tenth of the steps it is judged on these batches, and it ends as it was at the best of these
    looks: on few data the last steps may only learn them by heart.
    """
    draws = generator(training.seed, "train")  # the same for all networks: they see the same batches
    optimizer = make_optimizer(network.parameters(), training.learning_rate)
    best, lowest = copy.deepcopy(network), torch.tensor(math.inf)
    looks = {math.ceil(training.steps * tenth / LOOKS) for tenth in range(1, LOOKS + 1)}

    def step(i: int) -> dict[str, object]:
        rate = cosine(i, training.steps, training.learning_rate)
        set_rate(optimizer, rate)
        with watch_experts(network, i) as experts:
            loss = _step(network, task, training, optimizer, draws)
        record = {"phase": "train", "network": name, "loss": loss, "learning_rate": rate, **experts}
        if i + 1 not in looks:
            return record
        judged = evaluate(network, task, validation)
        if judged <= lowest:  # of equal looks the last: it has learnt more
            lowest.fill_(judged)
            best.load_state_dict(network.state_dict())
        return {**record, "validation_loss": judged}

    network.train()
    state = State(
        {"network": network, "best": best}, {"weights": optimizer}, draws, {"lowest validation loss": lowest}
    )
    run_loop(run, f"5-train-{name}", training.steps, state, step, progress)
    network.load_state_dict(best.state_dict())
    network.eval()
