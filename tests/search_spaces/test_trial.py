"""What cannot be searched is said in one line that names the choice, the option and the way out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import Choice, LabelledText, SearchSpace, SearchSpaceError, hybrid_lm
from search_spaces.catalogue import SPACES
from search_spaces.trial import as_task, try_space, try_task
from tests.nas.toys import ToyTask, toy_space

if TYPE_CHECKING:
    from collections.abc import Callable


def _does(what: Callable[..., object]) -> nn.Module:
    class Option(nn.Module):
        def forward(self, *inputs: Tensor) -> object:
            return what(*inputs)

    return Option()


def _space(network: nn.Module) -> SearchSpace:
    return SearchSpace("mine", network, lambda batch, length: (torch.zeros(batch, 4),))


def _of_option(option: nn.Module) -> SearchSpace:
    """A space with that option beside a good one, one level down."""
    layer = Choice({"linear": nn.Linear(4, 4), "mine": option})
    return _space(nn.Sequential(Choice({"skip": nn.Identity(), "inner": nn.Sequential(layer)})))


def _called(call: Callable[[Choice, Tensor], Any]) -> SearchSpace:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Choice({"linear": nn.Linear(4, 4), "skip": nn.Identity()})

        def forward(self, x: Tensor) -> object:
            return call(self.layer, x)

    return _space(Network())


INNER = r"choice '0\.inner\.0', option 'mine'"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (nn.Linear(4, 5), r"'0\.inner\.0': option 'mine' returns float32 \(1, 5\), option 'linear' returns"),
        (nn.Linear(5, 4), INNER + r" fails on float32 \(1, 4\): RuntimeError: mat1 and mat2"),
        (nn.LSTM(4, 4), INNER + r" returns a tuple of Tensor, tuple: .*ModuleAdapter\(module, output=0\)"),
        (_does(lambda x: None), INNER + " returns a NoneType"),
        (_does(lambda x: x.long()), INNER + r" returns torch\.int64: .* floating point"),
        (_does(lambda x: x > 0), INNER + r" returns torch\.bool"),
        (_does(lambda x: x.double()), r"'mine' returns float64 \(1, 4\), option 'linear' returns float32"),
        (_does(lambda x, mask: x), INNER + r" fails on float32 \(1, 4\): TypeError: .*'mask'"),
    ],
)
def test_an_option_that_cannot_stand_there(option: nn.Module, said: str) -> None:
    _assert_one_line(_of_option(option), said)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda layer, x: layer(x=x), "choice 'layer' is called with x by keyword: pass it by position"),
        (lambda layer, x: layer(x, None), "choice 'layer' is called with a NoneType among its inputs"),
        (lambda layer, x: layer(), "choice 'layer' is called with nothing"),
        (lambda layer, x: x, "choice 'layer' is never called"),
        (lambda layer, x: (layer(x), x), "must return one tensor, and it returned a tuple of Tensor, Tensor"),
        (lambda layer, x: layer(x) @ x, r"'mine': the network fails on its example inputs float32 \(1, 4\)"),
    ],
)
def test_a_network_that_cannot_be_searched(call: Callable[[Choice, Tensor], Any], said: str) -> None:
    _assert_one_line(_called(call), said)


@pytest.mark.parametrize(
    ("example_inputs", "said"),
    [
        (lambda batch, length: torch.zeros(batch, 4), r"must return a tuple of tensors.*a Tensor$"),
        (lambda batch, length: (4,), r"it returned a tuple of int$"),
        (lambda batch: (), r"example_inputs\(1, 256\): TypeError"),
    ],
)
def test_example_inputs_that_are_none(example_inputs: Callable[..., Any], said: str) -> None:
    _assert_one_line(replace(toy_space(), example_inputs=example_inputs), said)


def _assert_one_line(space: SearchSpace, said: str) -> None:
    with pytest.raises(SearchSpaceError, match=said) as caught:
        try_space(space, 1, 256)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SPACES)
def test_the_spaces_of_the_catalogue_run(name: str) -> None:
    try_space(SPACES[name].alone(), 2, 64)


def test_a_trial_leaves_nothing_behind() -> None:
    norm = nn.BatchNorm1d(4)
    network = nn.Sequential(Choice({"norm": norm, "frozen": nn.BatchNorm1d(4).eval()}))
    before = copy.deepcopy(network.state_dict())
    try_space(_space(network), 3, 1)
    assert norm.training
    assert not network[0].option("frozen").training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_task_that_does_not_fit_the_space_is_found_in_one_step() -> None:
    try_task(toy_space(), ToyTask())
    with pytest.raises(SearchSpaceError, match=r"'python-packages' .* gives \(2, 8, 256\)"):
        try_task(hybrid_lm(layers=1), LabelledText(length=8))


@dataclass
class _Broken(ToyTask):
    """A task with one method of another kind."""

    loss_: Callable[..., Any] | None = None
    distillation_: Callable[..., Any] | None = None

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.loss_(output, target) if self.loss_ else super().loss(output, target)

    def distillation(self, output: Tensor, taught: Tensor, target: Tensor) -> Tensor:
        return self.distillation_() if self.distillation_ else super().distillation(output, taught, target)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (_Broken(loss_=lambda y, t: (y - t) ** 2), r"loss must give a scalar tensor.*gives shape \(2, 4\)"),
        (_Broken(loss_=lambda y, t: 1.0), "loss must give a scalar tensor.*gives a float"),
        (_Broken(loss_=lambda y, t: y @ t), "task 'toy' does not fit space 'toy': RuntimeError: mat1"),
        (_Broken(distillation_=lambda: 1 / 0), "does not fit space 'toy': ZeroDivisionError"),
        (_Broken(distillation_=lambda: None), "distillation must give a scalar tensor"),
        (3, "int is no task: it lacks name, metric_name, describe, sample, batches, loss"),
    ],
)
def test_a_task_that_cannot_be_learnt(task: Any, said: str) -> None:
    with pytest.raises(SearchSpaceError, match=said) as caught:
        try_task(toy_space(), task)
    assert "\n" not in str(caught.value)


def test_a_task_is_known_by_its_methods() -> None:
    task = ToyTask()
    assert as_task(task) is task
    with pytest.raises(SearchSpaceError, match=r"Half is no task: it lacks .*, sample, .*DatasetTask"):
        as_task(type("Half", (), {"name": "half", "loss": None})())
