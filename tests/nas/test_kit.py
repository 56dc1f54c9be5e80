"""What a kit holds, and the table from what a board says: of a board whose every figure is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from hw_cost_models.cost import Workload
from hw_cost_models.device import load_device
from hw_cost_models.errors import DeviceError
from hw_cost_models.files import write_json
from hw_cost_models.structure import structure_key
from nas import kit
from nas.kit import make
from nas.pricing import ANCHORS, WHOLE_ARCHITECTURES, assembly_of, price_on
from nas.progress import Silent
from search_spaces import Architecture, SearchSpace, hybrid_lm
from tests.nas.test_pricing import OVERHEAD_MS, TRUE_MS, FakeModel, Frame
from tests.nas.toys import architectures, toy_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hw_cost_models.cost import Item

WORKLOAD = Workload(2, 1)
ALONE = 1.25
"""How much longer the board takes in the reference's own process than in the rounds of all networks."""


class Kept:
    """Stands for `make_kit`: keeps what it is given, and can answer as a board would."""

    def __call__(
        self,
        items: Mapping[str, Item],
        reference: Mapping[str, Mapping[str, str]],
        path: Path,
        *,
        export: Any,
        space: str,
        workloads: Sequence[Workload],
    ) -> None:
        self.items, self.reference, self.space, self.workloads = items, reference, space, workloads

    def answer(self, path: Path) -> Path:
        model = FakeModel(scale=1.2)
        timings = {
            key: {
                "p10_ms": model.latency_ms({"it": item}, "p10")["it"],
                "p50_ms": model.latency_ms({"it": item}, "p50")["it"],
                "p95_ms": 9.0,
                "rounds": 5,
            }
            for key, item in self.items.items()
        }
        peaks = model.peak_bytes(self.items)
        value = {
            "format": "latency file 1",
            "space": self.space,
            "workloads": {workload.kind: vars(workload) for workload in self.workloads},
            "versions": {"torch": torch.__version__},
            "kit": "",
            "machine": {"name": "board", "processor": "", "cores": 4, "architecture": "", "system": ""},
            "onnxruntime": "1.20",
            "provider": "CPUExecutionProvider",
            "threads": 4,
            "rounds": 5,
            "networks": {
                key: {"timing": timing, "arena_bytes": peaks[key], "resident_bytes": 0}
                for key, timing in timings.items()
            },
            "anchors": {},
            "reference": {
                kind: {
                    name: {k: ALONE * v if k.endswith("ms") else v for k, v in timings[key].items()}
                    for name, key in keys.items()
                }
                for kind, keys in self.reference.items()
            },
        }
        write_json(path, value)
        return path


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kept:
    monkeypatch.setenv("DNAS_CACHE_DIR", str(tmp_path / "cache"))
    kept = Kept()
    monkeypatch.setattr(kit, "make_kit", kept)
    return kept


def _space() -> SearchSpace:
    return SearchSpace("fake", Frame(), toy_inputs)


def test_a_table_from_a_board(kept: Kept, tmp_path: Path) -> None:
    """Whole networks take 1.2 times their parts, their median 1.1 times p10, and alone 1.25 times that."""
    make(_space(), [WORKLOAD], tmp_path / "kit.zip")
    device = load_device(kept.answer(tmp_path / "latency.json"))
    table = price_on(device, assembly_of(_space(), WORKLOAD), "p50", 1, Silent())[0]
    assert (table.device, table.threads, table.workload, table.statistic) == ("board", 4, WORKLOAD, "p50")
    for taken in architectures():
        true = ALONE * 1.1 * (OVERHEAD_MS + 1.2 * (5.0 + sum(TRUE_MS[d] for d in taken.items())))
        assert table.cost(taken).latency_ms == pytest.approx(true, rel=0.02)


def test_the_reference_is_of_whole_architectures_from_all_over_the_range(kept: Kept, tmp_path: Path) -> None:
    make(_space(), [WORKLOAD], tmp_path / "kit.zip")
    named = {Architecture.from_json(name): key for name, key in kept.reference["forward"].items()}
    assert named.keys() < set(architectures())
    assert len(named) == ANCHORS
    assembly = assembly_of(_space(), WORKLOAD)
    assert all(structure_key(*assembly.whole(taken)) == key for taken, key in named.items())
    assert set(named.values()) <= kept.items.keys()


def test_a_kit_of_several_workloads(kept: Kept, tmp_path: Path) -> None:
    """Prefill and decode have networks of their own: the same layers at other lengths, or stepping."""
    workloads = [Workload(1, 8), Workload(1, 16, "prefill"), Workload(1, 16, "decode")]
    space = hybrid_lm(layers=1, width=16, heads=2)
    make(space, workloads[:1], tmp_path / "kit.zip")
    alone = kept.items.keys()
    assert len(alone) > WHOLE_ARCHITECTURES
    make(space, workloads, tmp_path / "kit.zip")
    assert kept.reference.keys() == {"forward", "prefill", "decode"}
    assert alone < kept.items.keys()
    lengths = {item[1][0].shape[1] for item in kept.items.values()}
    assert lengths == {8, 16, 1}


def test_the_latency_file_of_another_space_or_workload(kept: Kept, tmp_path: Path) -> None:
    make(_space(), [WORKLOAD], tmp_path / "kit.zip")
    device = load_device(kept.answer(tmp_path / "latency.json"))
    other = assembly_of(hybrid_lm(layers=1, width=16, heads=2), Workload(1, 8))
    for assembly in (other, assembly_of(_space(), Workload(3, 1))):
        with pytest.raises(
            DeviceError, match=r"latency\.json holds no .* from a kit of fake \(forward, batch 2"
        ):
            price_on(device, assembly, "p50", 1, Silent())
