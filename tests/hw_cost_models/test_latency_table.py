"""What is measured once stays measured: drift, damage, full disks, on a machine of our own; then for real."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from hw_cost_models import latency_table
from hw_cost_models.device import load_device
from hw_cost_models.latency_table import LatencyTable
from hw_cost_models.measure import Measurement, Timing

if TYPE_CHECKING:
    from pathlib import Path

    from hw_cost_models.cost import Item

_LOCAL = load_device("local")


class _Machine:
    """Stands in for exporting and measuring: every network takes 10 ms times the machine's `slowness`."""

    def __init__(self) -> None:
        self.slowness = 1.0
        self.noise = 1.0
        """How much higher the median and the 95th percentile lie, the 10th apart."""
        self.waited = 0.0
        self.measured: list[int] = []
        self.models: list[Any] = []

    def measure(self, models: dict[str, Any], *_: Any, **__: Any) -> Measurement:
        self.measured.append(len(models))
        self.models += models.values()
        return Measurement(
            timings={name: self._timing(10.0) for name in models},
            anchors={"a": self._timing(1.0), "b": self._timing(2.0)},
            runtime={},
            arena_bytes=dict.fromkeys(models, 4096),
            waited=self.waited,
        )

    def _timing(self, ms: float) -> Timing:
        ms *= self.slowness
        return Timing(ms, 2 * ms * self.noise, 3 * ms * self.noise, 25)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> _Machine:
    machine = _Machine()
    monkeypatch.setattr(latency_table, "measure", machine.measure)
    monkeypatch.setattr(latency_table, "export_many", lambda items, *_, **__: dict.fromkeys(items))
    monkeypatch.setattr(latency_table, "feeds", lambda *_: {})
    return machine


def _items(*widths: int) -> dict[str, Item]:
    x = torch.ones(1, 4)
    return {f"{number}": (nn.Linear(4, width), (x,)) for number, width in enumerate(widths)}


def _table(folder: Path) -> LatencyTable:
    return LatencyTable(_LOCAL, dynamic={0: "batch"}, cache=folder)


def test_equal_items_are_measured_once_and_never_again(machine: _Machine, tmp_path: Path) -> None:
    table = _table(tmp_path)
    costs = table.price(_items(8, 8, 16))
    assert machine.measured == [2]
    assert [cost.latency_ms for cost in costs.values()] == [10, 10, 10]
    assert [cost.weight_bytes for cost in costs.values()] == [160, 160, 320]
    table.price(_items(16))
    assert machine.measured == [2], "today's anchors are known, and so is this structure"
    assert _table(tmp_path).price(_items(8))["0"].latency_ms == 10
    assert machine.measured == [2, 0], "a new process times the anchors alone"
    table.price(_items(8, 32))
    assert machine.measured == [2, 0, 1]


def test_any_statistic_and_the_arena(machine: _Machine, tmp_path: Path) -> None:
    table = _table(tmp_path)
    assert table.latency_ms(_items(8), "p50") == {"0": 20}
    assert table.latency_ms(_items(8), "p95") == {"0": 30}
    assert table.peak_bytes(_items(8)) == {"0": 4096}
    assert table.price(_items(8))["0"].peak_activation_bytes == 4096, "the runtime's, not the trace's"


def test_every_runtime_has_a_table_of_its_own(machine: _Machine, tmp_path: Path) -> None:
    devices = [_LOCAL, _LOCAL.with_threads(2), _LOCAL.with_runtime("pytorch")]
    devices.append(_LOCAL.with_runtime("torch.compile"))
    tables = [LatencyTable(device, dynamic={}, cache=tmp_path) for device in devices]
    assert len({table.path for table in tables}) == len(devices)
    assert "pytorch" in tables[2].path.name
    assert torch.__version__.split("+")[0] in tables[2].path.name


def test_modules_are_measured_as_they_are_where_they_run(machine: _Machine, tmp_path: Path) -> None:
    items = _items(8)
    LatencyTable(_LOCAL.with_runtime("pytorch"), dynamic={}, cache=tmp_path).price(items)
    assert machine.models == [items["0"]]


def test_a_busy_machine_is_told(machine: _Machine, tmp_path: Path) -> None:
    machine.waited = 0.3
    table = _table(tmp_path)
    table.price(_items(8))
    (warning,) = table.warnings
    assert "waited for a core 30% of the time" in warning


def test_drift_is_taken_out_when_stored_and_put_in_when_given(machine: _Machine, tmp_path: Path) -> None:
    _table(tmp_path).price(_items(8))
    machine.slowness = 1.2
    slow = _table(tmp_path)
    costs = slow.price(_items(8, 16))
    assert slow.drift == pytest.approx(1.2)
    assert slow.anchors["a"].p10_ms == 1.2
    assert [cost.latency_ms for cost in costs.values()] == pytest.approx([12, 12])
    machine.slowness = 0.9
    assert _table(tmp_path).price(_items(16))["0"].latency_ms == pytest.approx(9), "both stored alike"
    assert slow.warnings == []


def test_every_percentile_has_a_drift_of_its_own(machine: _Machine, tmp_path: Path) -> None:
    _table(tmp_path).price(_items(8))
    machine.noise = 1.5
    noisy = _table(tmp_path)
    assert noisy.latency_ms(_items(8, 16), "p10") == pytest.approx({"0": 10, "1": 10})
    assert noisy.latency_ms(_items(8, 16), "p50") == pytest.approx({"0": 30, "1": 30})
    machine.noise = 1.0
    assert _table(tmp_path).latency_ms(_items(16), "p50") == pytest.approx({"0": 20}), "stored without noise"


@pytest.mark.parametrize("slowness", [0.5, 1.5])
def test_another_machine_in_effect_is_measured_afresh(
    machine: _Machine, tmp_path: Path, slowness: float
) -> None:
    _table(tmp_path).price(_items(8, 16))
    machine.slowness = slowness
    table = _table(tmp_path)
    assert table.price(_items(8))["0"].latency_ms == pytest.approx(10 * slowness)
    assert machine.measured == [2, 0, 1]
    assert table.drift == 1
    assert f"takes {slowness:.2f} times as long" in table.warnings[0]
    assert _table(tmp_path).price(_items(8))["0"].latency_ms == pytest.approx(10 * slowness)


def test_a_damaged_cache_is_named_and_rebuilt(machine: _Machine, tmp_path: Path) -> None:
    first = _table(tmp_path)
    first.price(_items(8))
    whole = first.path.read_text()
    assert '"p10_ms": 10.0' in whole
    for damaged in (whole.replace('"p10_ms": 10.0', '"p10_ms": 1.0'), whole[:-20], "{}"):
        first.path.write_text(damaged)
        table = _table(tmp_path)
        assert str(first.path) in table.warnings[0]
        assert "is damaged" in table.warnings[0]
        assert table.price(_items(8))["0"].latency_ms == 10
        assert machine.measured[-1] == 1
    assert _table(tmp_path).warnings == [], "the rebuilt file is whole"


def test_a_full_disk_costs_nothing_but_the_cache(
    machine: _Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    table = _table(tmp_path)
    table.price(_items(8))
    before = table.path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    assert table.price(_items(16))["0"].latency_ms == 10
    assert "could not be kept (No space left on device)" in table.warnings[0]
    assert table.path.read_bytes() == before


def test_one_file_for_each_thing_that_makes_timings_incomparable(tmp_path: Path) -> None:
    paths = {
        LatencyTable(device, dynamic=dynamic, cache=tmp_path).path
        for device in (_LOCAL, _LOCAL.with_threads(2))
        for dynamic in ({0: "batch"}, {0: "batch", 1: "length"})
    }
    assert len(paths) == 4


def test_for_real(examples: dict[str, Item], tmp_path: Path) -> None:
    x = torch.randn(1, 64, 16)
    items = {name: (module, (x,)) for name, (module, _) in examples.items() if name != "lm"}
    told: list[int] = []
    table = LatencyTable(
        _LOCAL,
        dynamic={0: "batch", 1: "length"},
        cache=tmp_path,
        rounds=3,
        progress=lambda n, _: told.append(n),
    )
    costs = table.price(items)
    assert all(0 < cost.latency_ms < 100 for cost in costs.values())
    assert costs["gated"].flops == 3 * 2 * 64 * 16 * 32 + 2 * 64 * 32
    assert costs["gated"].peak_activation_bytes >= 64 * (2 * 32 + 16) * 4
    assert told == [1, 2, 3]
    again = LatencyTable(_LOCAL, dynamic={0: "batch", 1: "length"}, cache=tmp_path, rounds=3)
    for name, cost in again.price(items).items():
        assert cost.latency_ms == pytest.approx(costs[name].latency_ms * again.drift)
