"""Trials: a forward that runs every option of a space, and one that asks a task for all it is ever asked.

What a person may get wrong in a network or a task of their own becomes one line that names the choice, the
option and the way out, before anything is searched.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.binding import bind, substitute
from search_spaces.choice import Choice, Mixture, choices, join, module_name
from search_spaces.errors import SearchSpaceError, first_line
from search_spaces.space import CountsErrors, MeasuresOutputs, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from search_spaces.space import SearchSpace


def try_space(space: SearchSpace, batch: int, length: int) -> None:
    """Runs the network once on its example inputs, every option of every choice in it.

    Raises SearchSpaceError for example inputs that are no tuple of tensors, a choice that is not reached or
    is called with anything but tensors by position, an option that fails, returns anything but a tensor of
    floating point, or differs in shape or type from the others, and a network that fails outside of them.
    """
    try:
        inputs = space.example_inputs(batch, length)
    except Exception as error:
        raise SearchSpaceError(
            f"space {space.name!r}: example_inputs({batch}, {length}): {first_line(error)}"
        ) from error
    if not isinstance(inputs, tuple) or not all(isinstance(tensor, Tensor) for tensor in inputs):
        raise SearchSpaceError(
            f"space {space.name!r}: example_inputs({batch}, {length}) must return a tuple of tensors, "
            f"such as (x,), and it returned {_kinds(inputs)}"
        )
    tried: set[str] = set()
    with torch.no_grad(), _evaluating(space.network):
        output = _run(space, _trial(space.network, "", tried), inputs)
    missed = [path for path in choices(space.network) if path not in tried]
    if missed:
        raise SearchSpaceError(
            f"choice {missed[0]!r} is never called by the network's forward: call it, or take it out"
        )
    if not isinstance(output, Tensor):
        raise SearchSpaceError(
            f"space {space.name!r}: the network must return one tensor, and it returned {_kinds(output)}"
        )


def try_task(space: SearchSpace, task: Task) -> None:
    """Asks the task, about the first options' network, everything that a search will ask it.

    Raises SearchSpaceError for a task that lacks a method, does not fit the space, or gives no scalar loss.
    """
    as_task(task)
    first = Architecture({path: choice.options[0] for path, choice in choices(space.network).items()})
    network = bind(space.network, Mixture.of(first))
    try:
        with torch.no_grad(), _evaluating(space.network):
            drawn = task.sample("train", 2, torch.Generator().manual_seed(0))
            for inputs, target in (drawn, *task.batches("validation", 2, 1)):
                output = network(*inputs)
                loss = task.loss(output, target)
                _check_scalar(task, "loss", loss)
                _check_scalar(task, "distillation", task.distillation(output, output, target))
                task.metric(loss.item())
                if isinstance(task, CountsErrors):
                    _check_scalar(task, "error", task.error(output, target))
                if isinstance(task, MeasuresOutputs):
                    _check_scalar(task, "measure", task.measure(output, target))
    except SearchSpaceError:
        raise
    except Exception as error:
        raise SearchSpaceError(
            f"task {task.name!r} does not fit space {space.name!r}: {first_line(error)}"
        ) from error


def _check_scalar(task: Task, what: str, value: object) -> None:
    if not isinstance(value, Tensor) or value.dim():
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else _kinds(value)
        raise SearchSpaceError(
            f"task {task.name!r}: {what} must give a scalar tensor, a mean over the batch, and gives {found}"
        )


def as_task(task: object) -> Task:
    """The same. Raises SearchSpaceError, naming what is missing, for what has not all methods of a Task."""
    if isinstance(task, Task):
        return task
    missing = [name for name in vars(Task) if not name.startswith("_") and not hasattr(task, name)]
    raise SearchSpaceError(
        f"{type(task).__name__} is no task: it lacks {', '.join(missing)}; "
        "search_spaces.DatasetTask makes one of data, a loss and a metric"
    )


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """In evaluation, so that no statistic of a normalisation moves; every module's mode comes back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _run(space: SearchSpace, network: nn.Module, inputs: tuple[Tensor, ...]) -> object:
    try:
        return network(*inputs)
    except SearchSpaceError:
        raise
    except Exception as error:
        raise SearchSpaceError(
            f"space {space.name!r}: the network fails on its example inputs {_shapes(inputs)}: "
            f"{first_line(error)}"
        ) from error


def _trial(module: nn.Module, prefix: str, tried: set[str]) -> nn.Module:
    """A view in which every outermost choice tries all its options, and those inside them."""
    return substitute(module, lambda path, choice: _Trial(path, choice, tried), prefix)


class _Trial(nn.Module):
    """Stands for a choice: runs each option and passes on what the first of them gives."""

    def __init__(self, path: str, choice: Choice, tried: set[str]) -> None:
        super().__init__()
        self.path, self.tried = path, tried
        self.views = {
            name: _trial(choice.option(name), join(path, module_name(name)), tried) for name in choice.options
        }

    def forward(self, *inputs: object, **keywords: object) -> Tensor:
        self.tried.add(self.path)
        if keywords:
            raise SearchSpaceError(
                f"choice {self.path!r} is called with {', '.join(keywords)} by keyword: pass it by position"
            )
        odd = [type(given).__name__ for given in inputs if not isinstance(given, Tensor)]
        if odd or not inputs:
            got = f"a {odd[0]} among its inputs" if odd else "nothing"
            raise SearchSpaceError(
                f"choice {self.path!r} is called with {got}: options take tensors; what else they need, "
                "they are built with"
            )
        outputs = {name: self._tried(name, view, inputs) for name, view in self.views.items()}
        (first, expected), *others = outputs.items()
        for name, y in others:
            if y.shape != expected.shape or y.dtype != expected.dtype:
                raise SearchSpaceError(
                    f"choice {self.path!r}: option {name!r} returns {_shapes([y])}, option {first!r} returns "
                    f"{_shapes([expected])}; options must agree"
                )
        return expected

    def _tried(self, name: str, option: nn.Module, inputs: tuple[object, ...]) -> Tensor:
        where = f"choice {self.path!r}, option {name!r}"
        try:
            output = option(*inputs)
        except SearchSpaceError:
            raise
        except Exception as error:
            raise SearchSpaceError(f"{where} fails on {_shapes(inputs)}: {first_line(error)}") from error
        if not isinstance(output, Tensor):
            raise SearchSpaceError(
                f"{where} returns {_kinds(output)}: an option returns one tensor; "
                "search_spaces.ModuleAdapter(module, output=0) takes the first"
            )
        if not output.is_floating_point():
            raise SearchSpaceError(
                f"{where} returns {output.dtype}: outputs are weighed against each other, in floating point"
            )
        return output


def _shapes(tensors: Iterable[object]) -> str:
    told = [
        f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in tensors if isinstance(t, Tensor)
    ]
    return ", ".join(told)


def _kinds(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
    return f"a {type(value).__name__}"
