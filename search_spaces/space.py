"""SearchSpace: a network with choices and the inputs it runs on. Task: data, loss and metric.

A space knows nothing of costs and a task knows nothing of spaces; `nas.search` brings them together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from search_spaces.binding import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from search_spaces.architecture import Architecture
    from search_spaces.rules import Rule

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Batch = tuple[tuple[Tensor, ...], Tensor]
"""The network's inputs and the target."""


@dataclass(frozen=True)
class SearchSpace:
    """A network with choices.

    `example_inputs(batch, length)` makes inputs of that size (seeded, valid for the network), by which it is
    traced, exported and timed. `dynamic` names the dimensions that stay free in the exported file; they
    apply to every tensor input, and so to the inputs of options too. `input_names` and `output_names` are
    the exported file's. `rules` say which options of different choices may stand together. `references` are
    networks that people know, by name, each in the sizes that the space holds: what a winner has to beat at
    equal cost. `length` is the one that the network is laid out for, where there is one, and `unit` what
    lengths are counted in: tokens of a sequence, or pixels of the side of a square image.

    Raises SearchSpaceError for a rule or a reference that is not about this network.
    """

    name: str
    network: nn.Module
    example_inputs: Callable[[int, int], tuple[Tensor, ...]]
    dynamic: Mapping[int, str] = field(default_factory=lambda: {0: "batch"})
    input_names: tuple[str, ...] = ("input",)
    output_names: tuple[str, ...] = ("output",)
    rules: tuple[Rule, ...] = ()
    references: Mapping[str, tuple[Architecture, ...]] = field(default_factory=dict)
    length: int | None = None
    unit: Literal["tokens", "pixels"] = "tokens"

    def __post_init__(self) -> None:
        for rule in self.rules:
            rule.check(self.network)
        for architecture in (a for sizes in self.references.values() for a in sizes):
            check(self.network, architecture)


@runtime_checkable
class Task(Protocol):
    """What the network is trained and judged on."""

    @property
    def name(self) -> str: ...

    @property
    def metric_name(self) -> str:
        """How `metric` is called in tables, with its unit; lower is better."""
        ...

    def describe(self) -> dict[str, object]:
        """What the data is (source, sizes of the splits, a digest of the content), as plain JSON."""
        ...

    def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
        """A random batch of `size` examples, drawn from `generator` and nothing else."""
        ...

    def batches(self, split: Split, size: int, count: int) -> Iterator[Batch]:
        """Up to `count` fixed batches, spread evenly over the split, the same on every call."""
        ...

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The scalar that training minimises, averaged over the batch; in nats for likelihoods."""
        ...

    def distillation(self, output: Tensor, taught: Tensor, target: Tensor) -> Tensor:
        """How far an output is from a teacher's, a scalar on the scale of `loss`.

        `target` is there to say which places are scored.
        """
        ...

    def metric(self, loss: float) -> float:
        """The mean loss in the unit people know, such as bits per byte."""
        ...


@runtime_checkable
class CountsErrors(Protocol):
    """A task that also knows right from wrong."""

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """The share of what is scored that the output has wrong, a scalar between 0 and 1."""
        ...


@runtime_checkable
class MeasuresOutputs(Protocol):
    """A task whose metric is one of outputs, and not of the mean loss."""

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """A scalar, averaged over the batch; lower is better. It takes the place of `metric`."""
        ...


def batch_multiple(task: Task) -> int:
    """How many of its examples stand for one text where presets count them: its `batch_multiple`, or one."""
    return int(getattr(task, "batch_multiple", 1))
