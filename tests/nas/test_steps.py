"""Steps on weights and on architecture parameters: what moves, what must not, and what stops a run."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from nas.budget import Budget
from nas.controllers import CONTROLLERS, Controller, Gumbel, Uniform
from nas.errors import DivergedError
from nas.steps import Duals, architecture_step, cosine, descend, set_rate, weight_step
from nas.supernet import Supernet
from nas.train import make_optimizer
from search_spaces import Mixture
from tests.nas.toys import Toy, ToyTask, architecture, same, toy_table

TEACHER = Mixture.of(architecture("tanh.x2", "nested", "wide"))
BUDGET = Budget(latency_ms=2.0, memory_mb=9.0)


def _supernet(controller: Controller | None = None) -> Supernet:
    return Supernet(Toy(), toy_table(), BUDGET, controller)


def _state(*holders: nn.Module | torch.optim.Optimizer) -> list[object]:
    return [copy.deepcopy(holder.state_dict()) for holder in holders]


class NanGradient(torch.autograd.Function):
    """The input itself, with a gradient of NaN."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * math.nan


@pytest.mark.parametrize("cause", ["loss", "infinite loss", "gradient"])
def test_nothing_changes_when_a_step_diverges(cause: str) -> None:
    linear = nn.Linear(3, 1)
    optimizer = make_optimizer(linear.parameters(), 0.1)
    descend(linear(torch.ones(2, 3)).sum(), optimizer, linear.parameters())
    before = _state(linear, optimizer)
    output = linear(torch.ones(2, 3)).sum()
    factor = {"loss": math.nan, "infinite loss": math.inf}.get(cause)
    loss = NanGradient.apply(output) if factor is None else output * factor
    with pytest.raises(DivergedError, match="gradient's norm is nan" if factor is None else "the loss is"):
        descend(loss, optimizer, linear.parameters())
    assert same(before, _state(linear, optimizer))
    descend(linear(torch.ones(2, 3)).sum(), optimizer, linear.parameters())
    assert not same(before[0], linear.state_dict()), "and a healthy step goes on from there"


def test_descend_is_one_clipped_step_of_the_optimizer() -> None:
    weight, other = (nn.Parameter(torch.tensor([3.0, 4.0])) for _ in range(2))
    optimizer = torch.optim.SGD([weight, other], lr=1.0)
    # The gradient is (6, 8), of norm 10: clipped to norm 1 it is (0.6, 0.8).
    descend((weight**2).sum() + (other**2).sum(), optimizer, [weight])
    assert weight.tolist() == pytest.approx([2.4, 3.2])
    assert other.tolist() == [3.0, 4.0]
    descend((0.01 * weight).sum(), optimizer, [weight])
    assert weight.tolist() == pytest.approx([2.39, 3.19]), "a small gradient is left as it is"


def test_weight_step_trains_the_sampled_path_alone() -> None:
    supernet = _supernet()
    optimizer = make_optimizer(supernet.weights(), 0.01)
    draws = torch.Generator().manual_seed(0)
    for path in (architecture("linear", "nested", "narrow"), architecture("tanh.x2", "skip")):
        before = copy.deepcopy(supernet.state_dict())
        weight_step(
            supernet, ToyTask(), ToyTask().sample("train", 8, draws), Mixture.of(path), TEACHER, optimizer
        )
        moved = {n for n, value in supernet.state_dict().items() if not torch.equal(before[n], value)}
        options = ("0.linear.", "0.tanh%2Ex2.", "1.nested.0.", "1.nested.1.narrow.", "1.nested.1.wide.")
        touched = {o for o in options if any(f"network.layers.{o}" in name for name in moved)}
        expected = {"0.linear.", "1.nested.0.", "1.nested.1.narrow."} if len(path) == 3 else {"0.tanh%2Ex2."}
        assert touched == expected
        assert not any(name.startswith("alpha") for name in moved)
        assert {"network.head.weight", "network.head.bias"} <= moved


@pytest.mark.parametrize("teaches", ["nobody", "the better", "the worse"])
def test_weight_step_by_hand(teaches: str) -> None:
    """The task's loss, half the distance to a largest network that is better on this batch, the auxiliary."""
    supernet, task = _supernet(), ToyTask()
    (x,), target = task.sample("train", 8, torch.Generator().manual_seed(0))
    path = Mixture.of(architecture("linear", "nested", "narrow"))
    with torch.no_grad():
        output, auxiliary = supernet((x,), path)
        taught, _ = supernet((x,), TEACHER)
        target = 0.9 * (output if teaches == "the worse" else taught) + 0.1 * target
        task_loss = ((output - target) ** 2).mean().item()
        assert (((taught - target) ** 2).mean().item() > task_loss) == (teaches == "the worse")
        distance = 0.5 * ((output - taught) ** 2).mean().item() if teaches == "the better" else 0.0
    teacher = None if teaches == "nobody" else TEACHER
    optimizer = make_optimizer(supernet.weights(), 0.01)
    found = weight_step(supernet, task, ((x,), target), path, teacher, optimizer)
    assert auxiliary.item() > 0
    assert found == pytest.approx(
        {
            "loss": task_loss + distance + auxiliary.item(),
            "task_loss": task_loss,
            "distillation_loss": distance,
            "auxiliary_loss": auxiliary.item(),
        }
    )


@pytest.mark.parametrize("controller", CONTROLLERS.values(), ids=CONTROLLERS)
def test_mixtures_of_any_controller_leave_the_other_level_alone(controller: Controller) -> None:
    supernet, task, draws = _supernet(controller), ToyTask(), torch.Generator().manual_seed(0)
    weights = make_optimizer(supernet.weights(), 0.01)
    alpha = torch.optim.Adam(supernet.architecture_parameters(), lr=0.1)
    duals = Duals(torch.full((2,), 0.3), 0.02)
    batch = task.sample("train", 8, draws)
    for _ in range(3):
        before = _state(supernet.network)
        architecture_step(supernet, task, batch, supernet.sample(draws), duals, alpha)
        assert same(before, _state(supernet.network))
        before = _state(supernet.alpha)
        weight_step(supernet, task, batch, supernet.sample(draws), TEACHER, weights)
        assert same(before, _state(supernet.alpha))
    moved = any(bool(a.any()) for a in supernet.architecture_parameters())
    assert moved == supernet.controller.learns


def test_architecture_step_prices_what_is_over_its_limit() -> None:
    """No task to speak of: one step of the multipliers by hand, and alpha moves towards what is cheap."""
    supernet, draws = _supernet(Gumbel()), torch.Generator().manual_seed(0)
    duals = Duals(torch.tensor([1.0, 0.001]), 0.1)
    optimizer = torch.optim.SGD(supernet.architecture_parameters(), lr=1.0)
    loss, usage = architecture_step(
        supernet,
        ToyTask(),
        ToyTask().sample("validation", 8, draws),
        supernet.sample(draws),
        duals,
        optimizer,
    )
    assert loss > 0
    assert usage[0].item() == pytest.approx(4.375 / 2)
    assert duals.values[0].item() == pytest.approx(1.0 + 0.1 * (4.375 / 2 - 1))
    assert usage[1].item() < 1
    assert duals.values[1].item() == 0.0
    first = next(iter(supernet.architecture_parameters()))
    assert first[1] < first[0] < first[2], "4 ms, 2 ms, 0 ms"


@pytest.mark.parametrize("controller", [Gumbel(), Uniform()], ids=["gumbel", "random"])
def test_a_validation_loss_that_is_not_finite_stops_every_controller(controller: Controller) -> None:
    supernet, draws, task = _supernet(controller), torch.Generator().manual_seed(0), ToyTask(scale=math.nan)
    duals = Duals(torch.ones(2), 0.1)
    optimizer = torch.optim.Adam(supernet.architecture_parameters(), lr=0.1)
    batch = task.sample("validation", 8, draws)
    with pytest.raises(DivergedError, match="the loss is nan"):
        architecture_step(supernet, task, batch, supernet.sample(draws), duals, optimizer)
    assert duals.values.tolist() == [1.0, 1.0]
    assert not any(bool(a.any()) for a in supernet.architecture_parameters())


@given(
    start=st.floats(0, 5),
    usage=st.floats(0, 100),
    rate=st.floats(1e-3, 1),
)
def test_duals_rise_above_the_limit_and_fall_below_it(start: float, usage: float, rate: float) -> None:
    values = torch.tensor([start], dtype=torch.float64)
    duals = Duals(values, rate)
    duals.ascend(torch.tensor([usage], dtype=torch.float64))
    assert values.item() == pytest.approx(max(0.0, start + rate * (usage - 1)))
    assert values.item() >= 0


def test_cosine_by_hand() -> None:
    warm = [cosine(i, 100, 2.0, warm_up=4) for i in range(4)]
    assert warm == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert cosine(4, 100, 2.0, warm_up=4) == pytest.approx(2.0)
    assert cosine(52, 100, 2.0, warm_up=4) == pytest.approx(2.0 * (0.1 + 0.45))
    assert cosine(100, 100, 2.0, warm_up=4) == pytest.approx(0.2)
    falling = [cosine(i, 100, 2.0, warm_up=4) for i in range(4, 101)]
    assert falling == sorted(falling, reverse=True)
    assert cosine(5, 6, 1.0) == pytest.approx(6 / 20), "a run shorter than its warm-up"


def test_set_rate() -> None:
    optimizer = torch.optim.SGD(
        [{"params": [nn.Parameter(torch.ones(1))]}, {"params": [nn.Parameter(torch.ones(1))]}], lr=1.0
    )
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
