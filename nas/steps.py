"""One step on the weights, one step on the architecture parameters.

The search is the bilevel problem

    min over alpha  E[ loss_validation(w*, a) ]   subject to  E[cost_l(a)] <= limit_l  for every limit l
    where           w* = argmin over w  E[ loss_train(w, a) ],     a ~ p(alpha)

The staged schedule solves the lower problem first, for architectures all over the cost range (HardCoRe-NAS,
arXiv:2102.11646), the joint one alternates (DARTS, arXiv:1806.09055). The constraints are met by dual ascent
on the Lagrangian: lambda_l rises while the expected cost is over its limit and falls while it is under.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas.batch_norms import by_batch
from nas.errors import DivergedError
from nas.supernet import run_with_auxiliary
from search_spaces import bind
from search_spaces.auxiliary import collect_loads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nas.supernet import Supernet
    from search_spaces import Mixture, Task
    from search_spaces.space import Batch

DISTILLATION = 0.5
"""Weight of the teacher's part in the loss of a sampled architecture."""


def weight_step(
    supernet: Supernet,
    task: Task,
    batch: Batch,
    mixture: Mixture,
    teacher: Mixture | None,
    optimizer: torch.optim.Optimizer,
) -> dict[str, float]:
    """Trains the weights of one sampled path, taught by the largest network with the same shared weights.

    In-place distillation after BigNAS (arXiv:2003.11142), with two differences that a space of unlike options
    calls for. The teacher only runs forward: it is trained as any other path is, when it is sampled, so that
    its options are not trained more than the rest. And it teaches only batches on which it is the better of
    the two: here the largest need not be the best. Without a teacher, its extra forward is saved.
    """
    inputs, target = batch
    output, auxiliary = supernet(inputs, mixture)
    task_loss = task.loss(output, target)
    distillation = torch.zeros(())
    if teacher is not None:
        with torch.no_grad(), collect_loads():  # its loads are its own: they are not this path's
            taught, _ = supernet(inputs, teacher)
        if task.loss(taught, target) < task_loss:
            distillation = DISTILLATION * task.distillation(output, taught, target)
    loss = task_loss + distillation + auxiliary
    descend(loss, optimizer, supernet.weights())
    return {
        "loss": loss.item(),
        "task_loss": task_loss.item(),
        "distillation_loss": distillation.item(),
        "auxiliary_loss": auxiliary.item(),
    }


def architecture_step(
    supernet: Supernet,
    task: Task,
    batch: Batch,
    mixture: Mixture,
    duals: Duals,
    optimizer: torch.optim.Optimizer,
) -> tuple[float, Tensor]:
    """Descends on the architecture parameters and ascends on the duals; the weights stay as they are.

    Batch norms normalise by the batch: what they have averaged is of all architectures.

    Returns the validation loss and the expected costs over their limits, shape (limits,).
    """
    inputs, target = batch
    output, _ = run_with_auxiliary(by_batch(bind(supernet.network, mixture)), inputs)
    task_loss = task.loss(output, target)
    _check_finite(task_loss)
    usage = supernet.cost(mixture)
    if supernet.controller.learns:
        descend(task_loss + duals.values @ (usage - 1), optimizer, supernet.architecture_parameters())
        duals.ascend(usage.detach())
    return task_loss.item(), usage.detach()


@dataclass(frozen=True)
class Duals:
    """The multipliers of the limits, shape (limits,), never negative; in units of loss."""

    values: Tensor
    rate: float

    def ascend(self, usage: Tensor) -> None:
        """In place. `usage` is expected cost over limit: above one, the price of that cost rises."""
        self.values.add_(self.rate * (usage - 1)).clamp_(min=0)


def descend(
    loss: Tensor, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], clip: float = 1.0
) -> None:
    """One optimiser step on these parameters alone, the gradient's norm clipped.

    Raises DivergedError, before anything is changed, when the loss or its gradient is not finite.
    """
    _check_finite(loss)
    optimizer.zero_grad(set_to_none=True)
    trained = list(parameters)
    for parameter, gradient in zip(
        trained, torch.autograd.grad(loss, trained, allow_unused=True), strict=True
    ):
        parameter.grad = gradient
    norm = nn.utils.clip_grad_norm_(trained, clip)
    if not math.isfinite(norm.item()):
        raise DivergedError(f"the gradient's norm is {norm.item()} at a loss of {loss.item():.4g}")
    optimizer.step()


def _check_finite(loss: Tensor) -> None:
    if not math.isfinite(loss.item()):
        raise DivergedError(f"the loss is {loss.item()}")


def cosine(step: int, steps: int, peak: float, warm_up: int = 20) -> float:
    """Learning rate: linear warm-up, then half a cosine down to a tenth of the peak."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
