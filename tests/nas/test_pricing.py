"""From a cost model to a table: a model whose every figure is known, on a space with nested choices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hw_cost_models.cost import Cost, Item, Statistic, Workload
from hw_cost_models.device import load_device
from hw_cost_models.export_cache import ExportCache
from hw_cost_models.roofline import RooflineModel
from hw_cost_models.trace import static_cost
from nas.assembly import Assembly
from nas.pricing import price_space
from search_spaces import Architecture, Choice, SearchSpace, select
from tests.nas.toys import FIRST, INNER, SECOND, architectures, toy_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OVERHEAD_MS = 0.3


class Takes(nn.Module):
    """Does little, and takes as long as it says."""

    def __init__(self, ms: float, size: int = 1) -> None:
        super().__init__()
        self.ms = ms
        self.weight = nn.Parameter(torch.ones(size, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.sum(0)


class FakeModel:
    """A CostModel: the milliseconds of all parts in place, an overhead for the session, scale and noise."""

    def __init__(self, scale: float = 1.0, noise: float = 0.0, p50: float = 1.1) -> None:
        self.scale, self.noise, self.p50 = scale, noise, p50
        self.draws = np.random.default_rng(0)
        self.priced: list[str] = []

    def price(self, items: Mapping[str, Item], counted: Mapping[str, Cost] | None = None) -> dict[str, Cost]:
        latency = self.latency_ms(items, "p10")
        return {name: replace(static_cost(*item), latency_ms=latency[name]) for name, item in items.items()}

    def latency_ms(self, items: Mapping[str, Item], statistic: Statistic) -> dict[str, float]:
        self.priced = list(items)
        return {name: self._ms(module, statistic) for name, (module, _) in items.items()}

    def _ms(self, module: nn.Module, statistic: Statistic) -> float:
        parts = sum(m.ms for m in module.modules() if isinstance(m, Takes))
        whole = any(isinstance(m, Frame) for m in module.modules())
        noise = 1 + self.noise * float(self.draws.normal())
        return (
            (OVERHEAD_MS + (self.scale if whole else 1.0) * parts)
            * noise
            * (self.p50 if statistic == "p50" else 1)
        )

    def peak_bytes(self, items: Mapping[str, Item]) -> dict[str, float]:
        return {name: 2 * static_cost(*item).peak_activation_bytes for name, item in items.items()}


class Frame(nn.Module):
    """5 ms of its own around the choices of the toy, each option with a time of its own."""

    def __init__(self) -> None:
        super().__init__()
        first = Choice({"linear": Takes(2.0, 3), "tanh.x2": Takes(4.0, 9), "skip": nn.Identity()})
        inner = Choice({"narrow": Takes(0.5), "wide": Takes(3.0, 6)})
        nested = nn.Sequential(Takes(1.0, 2), inner)
        self.layers = nn.Sequential(first, Choice({"nested": nested, "skip": nn.Identity()}))
        self.head = Takes(5.0, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.layers(x))
        return y


TRUE_MS = {
    (FIRST, "linear"): 2.0,
    (FIRST, "tanh.x2"): 4.0,
    (FIRST, "skip"): 0.0,
    (SECOND, "nested"): 1.0,
    (SECOND, "skip"): 0.0,
    (INNER, "narrow"): 0.5,
    (INNER, "wide"): 3.0,
}
ROWS = {
    (FIRST, "linear"): 3,
    (FIRST, "tanh.x2"): 9,
    (SECOND, "nested"): 2,
    (INNER, "narrow"): 1,
    (INNER, "wide"): 6,
}
"""Of four numbers each: what an option weighs apart from what is nested in it."""


def _assembly(network: nn.Module, folder: Path) -> Assembly:
    return Assembly(SearchSpace("fake", network, toy_inputs), WORKLOAD, ExportCache(folder, {0: "batch"}))


@pytest.fixture
def assembly(tmp_path: Path) -> Assembly:
    return _assembly(Frame(), tmp_path)


LOCAL, WORKLOAD = load_device("local"), Workload(2, 1)


def test_known_costs_are_found(assembly: Assembly) -> None:
    """The p50 of a whole network lies 10 % above its p10, and so does every figure of the table."""
    table = price_space(assembly, FakeModel(), LOCAL, "p50")
    found = {d: c.latency_ms for d, c in table.options.items()}
    assert found == pytest.approx({d: 1.1 * ms for d, ms in TRUE_MS.items()}, rel=1e-3, abs=1e-9)
    assert table.fixed.latency_ms == pytest.approx(1.1 * (5.0 + OVERHEAD_MS), rel=1e-3)
    assert table.calibration.latency.residual < 1e-3
    assert (table.device, table.threads, table.workload, table.statistic) == ("local", 1, WORKLOAD, "p50")
    p10 = price_space(assembly, FakeModel(), LOCAL, "p95")
    assert p10.fixed.latency_ms == pytest.approx(5.0 + OVERHEAD_MS, rel=1e-3)


def test_an_option_that_holds_a_choice_has_the_peak_of_the_smallest_inside(tmp_path: Path) -> None:
    """The choice comes first with what needs most."""

    class Wide(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(4, width), nn.Linear(width, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.down(self.up(x).tanh())
            return y

    held = nn.Sequential(Choice({"wide": Wide(400), "narrow": Wide(8)}), nn.Tanh())
    network = nn.Sequential(Choice({"held": held, "skip": nn.Identity()}))
    assembly = _assembly(network, tmp_path)
    table = price_space(assembly, RooflineModel(load_device("raspberry-pi-5")), LOCAL)
    narrow = Architecture({"0": "held", "0.held.0": "narrow"})
    true = static_cost(select(network, narrow), toy_inputs(2, 1)).peak_activation_bytes
    assert table.options["0", "held"].peak_activation_bytes <= table.cost(narrow).peak_activation_bytes
    assert table.cost(narrow).peak_activation_bytes < 2 * true
    wide = table.cost(Architecture({"0": "held", "0.held.0": "wide"}))
    assert wide.peak_activation_bytes > 5 * true


def test_whole_networks_that_are_slower_than_their_parts(assembly: Assembly) -> None:
    """One scale, 20 %, and noise of 0.5 %: every whole architecture is predicted within 2 %."""
    model = FakeModel(scale=1.2, noise=0.005)
    table = price_space(assembly, model, LOCAL, "p50")
    for taken in architectures():
        true = 1.1 * (OVERHEAD_MS + 1.2 * (5.0 + sum(TRUE_MS[d] for d in taken.items())))
        assert table.figures(taken)["latency_ms"] == pytest.approx(true, rel=0.02)
    assert 0.0005 < table.calibration.latency.residual < 0.03


def test_what_is_counted_is_exact(assembly: Assembly) -> None:
    table = price_space(assembly, FakeModel(noise=0.05), LOCAL, "p50")
    for decision, cost in table.options.items():
        rows = ROWS.get(decision, 0)
        assert (cost.parameters, cost.weight_bytes) == (4 * rows, 16 * rows)
    assert (table.fixed.parameters, table.fixed.weight_bytes) == (20, 80)
    for taken in architectures():
        plain = static_cost(select(assembly.network, taken), assembly.inputs)
        cost = table.cost(taken)
        assert (cost.parameters, cost.weight_bytes, cost.flops) == (
            plain.parameters,
            plain.weight_bytes,
            plain.flops,
        )


def test_peaks_follow_the_largest_part(assembly: Assembly) -> None:
    """The fake runtime needs twice what tracing counts."""
    table = price_space(assembly, FakeModel(), LOCAL, "p50")
    for taken in architectures():
        true = 2 * static_cost(select(assembly.network, taken), assembly.inputs).peak_activation_bytes
        assert table.cost(taken).peak_activation_bytes == pytest.approx(true, rel=0.35)
    assert len(table.calibration.peak.measured) == len(table.calibration.latency.measured)


class Repeated(nn.Module):
    """Eight layers of the same two options."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Choice({"a": Takes(1.0), "b": Takes(2.0, 2)}) for _ in range(8)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def test_options_of_one_structure_share_one_price(tmp_path: Path) -> None:
    model = FakeModel(noise=0.02)
    table = price_space(_assembly(Repeated(), tmp_path), model, LOCAL, "p50")
    for option in "ab":
        assert len({table.options[f"layers.{i}", option].latency_ms for i in range(8)}) == 1
    networks = table.calibration.latency.measured
    assert len(model.priced) == 2 + 1 + len(networks), "two options and the identity, each once"


class Deep(nn.Module):
    """A choice in an option of a choice in an option of a choice."""

    def __init__(self) -> None:
        super().__init__()
        innermost = Choice({"p": Takes(1.0, 2), "q": Takes(4.0, 3)})
        middle = Choice({"m": nn.Sequential(Takes(2.0, 4), innermost), "n": Takes(0.5, 1)})
        self.outer = Choice({"x": nn.Sequential(Takes(8.0, 5), middle), "y": Takes(16.0, 6)})

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.outer(x)
        return y


def test_choices_nested_twice(tmp_path: Path) -> None:
    middle, innermost = "outer.x.1", "outer.x.1.m.1"
    table = price_space(_assembly(Deep(), tmp_path), FakeModel(), LOCAL, "p50")
    rows = {d: c.parameters / 4 for d, c in table.options.items()}
    assert rows == {
        ("outer", "x"): 5,
        ("outer", "y"): 6,
        (middle, "m"): 4,
        (middle, "n"): 1,
        (innermost, "p"): 2,
        (innermost, "q"): 3,
    }
    longest = Architecture({"outer": "x", middle: "m", innermost: "q"})
    assert table.figures(longest)["latency_ms"] == pytest.approx(1.1 * (OVERHEAD_MS + 8 + 2 + 4), rel=0.02)


def test_architectures_that_calibrate_are_different_and_the_same_in_every_run(assembly: Assembly) -> None:
    models = [FakeModel(), FakeModel()]
    tables = [price_space(assembly, model, LOCAL, "p50") for model in models]
    assert tables[0] == tables[1]
    assert len(tables[0].calibration.latency.measured) == len(architectures()), "all of so few"
    assert models[0].priced == models[1].priced
    assert len(set(models[0].priced)) == len(models[0].priced)
