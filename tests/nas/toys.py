"""A network with choices, a task and cost tables that are small enough to reason about by hand."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hw_cost_models.cost import Cost, Workload
from nas.calibration import Calibration, Residuals
from nas.cost_table import CostTable
from nas.run import Run
from nas.settings import Effort
from search_spaces import Architecture, Choice, SearchSpace, auxiliary
from search_spaces.catalogue import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nas.discretise import Decision
    from search_spaces.space import Batch, Split

EFFORT = Effort(
    supernet_steps=6,
    batch_size=4,
    architecture_steps=4,
    architecture_batch=4,
    evaluations=12,
    evaluation_batches=1,
    candidates=3,
    tuning_steps=2,
    measured=2,
    random_architectures=3,
    train_steps=3,
    rounds=3,
)
"""Every phase of a search, in seconds."""

WIDTH = 4
FIRST, SECOND, INNER = "layers.0", "layers.1", "layers.1.nested.1"
OPTIONS = {
    FIRST: ("linear", "tanh.x2", "skip"),
    SECOND: ("nested", "skip"),
    INNER: ("narrow", "wide"),
}
NESTING: dict[str, Decision | None] = {FIRST: None, SECOND: None, INNER: (SECOND, "nested")}


class Gated(nn.Module):
    """A linear layer that reports an auxiliary loss: the mean square of what it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        auxiliary.report(y.square().mean())
        return y


X = torch.linspace(-1, 1, 12).reshape(3, 4)


class Row(nn.Module):
    """Two choices in a row, and something after them that bends."""

    def __init__(self, first: Mapping[str, nn.Module], second: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.a, self.b = Choice(first), Choice(second)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(self.a(x)).tanh()
        return y


def scale(factor: float) -> nn.Linear:
    linear = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        linear.weight.copy_(factor * torch.eye(4))
    return linear


class Toy(nn.Module):
    """(batch, 4) -> (batch, 4). Two choices in a row, a third nested in an option of the second."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            twice = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.Tanh(), nn.Linear(2 * WIDTH, WIDTH))
            first = Choice({"linear": nn.Linear(WIDTH, WIDTH), "tanh.x2": twice, "skip": nn.Identity()})
            wide = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH))
            inner = Choice({"narrow": Gated(), "wide": wide})
            nested = nn.Sequential(nn.Linear(WIDTH, WIDTH), inner)
            self.layers = nn.Sequential(first, Choice({"nested": nested, "skip": nn.Identity()}))
            self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.layers(x))
        return y


def toy_inputs(batch: int, length: int) -> tuple[Tensor]:
    """(batch, 4), whatever the length."""
    return (torch.randn(batch, WIDTH, generator=torch.Generator().manual_seed(length)),)


def toy_space(network: nn.Module | None = None) -> SearchSpace:
    return SearchSpace("toy", network or Toy(), toy_inputs)


@dataclass
class ToyTask:
    """Regression on random numbers: the target is the input turned by one place, and squashed."""

    name: str = "toy"
    metric_name: str = "half the loss"
    scale: float = 1.0
    """Of the targets: with NaN, so is every loss."""
    length: int = 1

    def describe(self) -> dict[str, object]:
        return {"source": "random numbers"}

    def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
        x = torch.randn(size, WIDTH, generator=generator)
        return (x,), self.scale * x.roll(1, dims=1).tanh()

    def batches(self, split: Split, size: int, count: int) -> Iterator[Batch]:
        draws = torch.Generator().manual_seed({"train": 0, "validation": 1, "test": 2}[split])
        return (self.sample(split, size, draws) for _ in range(count))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, target)

    def distillation(self, output: Tensor, taught: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, taught.detach())

    def metric(self, loss: float) -> float:
        return loss / 2


TOY = Entry(toy_space, lambda task: toy_space(), lambda length: ToyTask(), {})
"""As a command line would name them."""


def architectures(
    options: Mapping[str, tuple[str, ...]] = OPTIONS, nesting: Mapping[str, Decision | None] = NESTING
) -> list[Architecture]:
    """All of them, by the definition of nesting alone: outer choices come first."""
    found = set()
    for combination in itertools.product(*options.values()):
        taken = dict(zip(options, combination, strict=True))
        reached: dict[str, str] = {}
        for path in options:
            outer = nesting.get(path)
            if outer is None or reached.get(outer[0]) == outer[1]:
                reached[path] = taken[path]
        found.add(Architecture(reached))
    return sorted(found, key=lambda a: a.to_json())


def architecture(first: str, second: str, inner: str | None = None) -> Architecture:
    return Architecture({FIRST: first, SECOND: second, **({INNER: inner} if inner else {})})


COSTS: dict[Decision, Cost] = {
    (FIRST, "linear"): Cost(
        flops=1e6, latency_ms=2.0, weight_bytes=100_000, parameters=25_000, peak_activation_bytes=30_000
    ),
    (FIRST, "tanh.x2"): Cost(
        flops=1e6, latency_ms=4.0, weight_bytes=400_000, parameters=100_000, peak_activation_bytes=90_000
    ),
    (FIRST, "skip"): Cost(),
    (SECOND, "nested"): Cost(
        flops=1e6, latency_ms=1.0, weight_bytes=200_000, parameters=50_000, peak_activation_bytes=20_000
    ),
    (SECOND, "skip"): Cost(),
    (INNER, "narrow"): Cost(
        flops=1e6, latency_ms=0.5, weight_bytes=50_000, parameters=12_000, peak_activation_bytes=10_000
    ),
    (INNER, "wide"): Cost(
        flops=1e6, latency_ms=3.0, weight_bytes=300_000, parameters=75_000, peak_activation_bytes=70_000
    ),
}
FIXED = Cost(latency_ms=1.0, weight_bytes=500_000, parameters=125_000, peak_activation_bytes=40_000)


def toy_table(predicted: tuple[float, ...] = (), measured: tuple[float, ...] = ()) -> CostTable:
    """Costs in round numbers, from 1 ms (all skipped) to 9 ms; latencies by which it was calibrated."""
    return CostTable(
        device="toy",
        threads=1,
        workload=Workload(),
        statistic="p50",
        options=COSTS,
        nesting=NESTING,
        fixed=FIXED,
        calibration=Calibration(Residuals(predicted, measured), Residuals((), ())),
    )


def flat_table(*choices: Mapping[str, float], fixed: float = 0.0) -> CostTable:
    """Choices `c0`, `c1`, ... of options with these latencies, side by side."""
    options = {
        (f"c{i}", name): Cost(latency_ms=ms, flops=1e6 * ms)
        for i, each in enumerate(choices)
        for name, ms in each.items()
    }
    nesting: dict[str, Decision | None] = dict.fromkeys(path for path, _ in options)
    return replace(toy_table(), options=options, nesting=nesting, fixed=Cost(latency_ms=fixed))


def new_run(path: Path, warnings: list[str] | None = None) -> Run:
    """A fresh run directory; what it warns of goes to the list."""
    said = [] if warnings is None else warnings
    return Run.create(path, {"made": "for a test"}, said.append)


class Killed(BaseException):
    """What `kill -9` would be, if Python heard of it."""


def same(a: object, b: object) -> bool:
    """Bit for bit, through dictionaries, lists and tuples."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return a == b
