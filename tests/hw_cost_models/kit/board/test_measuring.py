"""Measuring and verifying in this process: what goes into the files, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hw_cost_models.errors import DamagedFileError, HardwareCostError, MeasurementError
from hw_cost_models.files import digest, read_json, write_json
from hw_cost_models.kit.board import measuring, verifying
from hw_cost_models.kit.board.manifest import read_manifest
from hw_cost_models.kit.board.measuring import kept_waiting, measure_kit
from hw_cost_models.kit.board.progress import Progress
from hw_cost_models.kit.board.verifying import PROCESSES, REPEATS, STEADY, verify
from hw_cost_models.measure import Measurement, Timing
from tests.hw_cost_models.kit.conftest import KEYS, REFERENCE, WIDTHS, write_product

if TYPE_CHECKING:
    from pathlib import Path

CPU = "CPUExecutionProvider"


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Memory takes a process for each network: here it is 10 bytes for each column. Keeps what was asked."""
    asked: list[str] = []

    def of(model: Path, inputs: Path, threads: int) -> dict[str, int]:
        asked.append(model.name)
        return {"arena_bytes": 10 * WIDTHS[int(model.stem)], "resident_bytes": 10**7}

    monkeypatch.setattr(measuring, "memory_of", of)
    monkeypatch.setattr(verifying, "memory_of", lambda *_: {"arena_bytes": 5, "resident_bytes": 10**7})
    return asked


def _measured(kit: Path, rounds: int = 2) -> dict[str, Any]:
    return read_json(measure_kit(kit, CPU, 1, rounds, Progress()))


def test_what_the_latency_file_says(kit: Path, memory: list[str]) -> None:
    value = _measured(kit)
    assert list(value["networks"]) == KEYS
    assert [network["arena_bytes"] for network in value["networks"].values()] == [10 * w for w in WIDTHS]
    assert value["anchors"].keys() == {"matmul", "attention", "elementwise"}
    assert {kind: timings.keys() for kind, timings in value["reference"].items()} == {
        "forward": REFERENCE["forward"].keys()
    }
    timings = [network["timing"] for network in value["networks"].values()]
    for timing in (*timings, *value["anchors"].values(), *value["reference"]["forward"].values()):
        assert 0 < timing["p10_ms"] <= timing["p50_ms"] <= timing["p95_ms"]
        assert timing["rounds"] == value["rounds"] == 2
    # The matrix anchor is 134 MFLOP, the narrowest layer 128 operations.
    assert value["anchors"]["matmul"]["p10_ms"] > 10 * timings[0]["p10_ms"]


def test_percentiles_are_those_of_all_runs_on_disk(kit: Path, memory: list[str]) -> None:
    value = _measured(kit, rounds=3)
    rounds = [read_json(path)["times"] for path in (kit / "measured").glob("round-*.json")]
    times = [ms for visited in rounds for ms in visited[KEYS[2]]]
    timing = value["networks"][KEYS[2]]["timing"]
    assert [timing["p10_ms"], timing["p50_ms"]] == pytest.approx(np.quantile(times, [0.1, 0.5]))


def test_more_rounds_later_measure_the_rest_only(
    kit: Path, memory: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _measured(kit, 2)["rounds"] == 2
    asked = len(memory)
    assert _measured(kit, 5)["rounds"] == 5
    assert len(memory) == asked == len(KEYS), "memory does not change with rounds"
    assert len(re.findall(r"^rounds ", capsys.readouterr().out, re.MULTILINE)) == 5
    assert _measured(kit, 4)["rounds"] == 5


@pytest.mark.parametrize(("slower", "told"), [(1.24, False), (1.26, True)])
def test_a_busy_machine_is_told(
    kit: Path,
    memory: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    slower: float,
    told: bool,
) -> None:
    timing = {"p10_ms": 1.0, "p50_ms": slower, "p95_ms": 2.0}
    monkeypatch.setattr(measuring, "summary", lambda _: timing)
    _measured(kit, 1)
    out = capsys.readouterr().out
    assert ("note: 6 of 6 networks took up to 26% longer in half of their runs" in out) == told
    assert Timing(1.0, slower, 2.0, 1).steady != told, "the same as where PyTorch is"


@pytest.mark.parametrize("clock", ["core", "wall"])
@pytest.mark.parametrize("waited", [None, 0.0, 0.05, 0.051, 0.9])
def test_kept_from_a_core_means_the_same_here_and_there(clock: str, waited: float | None) -> None:
    assert kept_waiting(clock, waited) == Measurement({}, {}, {}, clock=clock, waited=waited).busy


def test_waiting_is_told(
    kit: Path, memory: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measuring, "Waiting", lambda: SimpleNamespace(share=lambda: 0.31))
    measure_kit(kit, CPU, 1, 1, Progress())
    assert "from a core" not in capsys.readouterr().out, "one thread is timed by the time that it had one"
    shutil.rmtree(kit / "measured")
    measure_kit(kit, CPU, 2, 1, Progress())
    assert "note: others kept the networks from a core 31% of the time" in capsys.readouterr().out


def test_a_network_that_does_not_run_is_named(kit: Path) -> None:
    manifest = read_json(kit / "manifest.json")
    broken = manifest["networks"][KEYS[0]]["model"]
    (kit / broken).write_bytes(b"no ONNX file")
    with pytest.raises(DamagedFileError, match=f"{broken} is missing or damaged: unpack the kit again"):
        read_manifest(kit)
    manifest["files"][broken] = digest(b"no ONNX file")
    write_json(kit / "manifest.json", manifest)
    with pytest.raises(MeasurementError, match=f"{broken} does not run: "):
        measure_kit(kit, CPU, 1, 1, Progress())


@pytest.mark.parametrize("damage", ["cut", "another", "absent"])
def test_a_manifest_that_is_none(kit: Path, damage: str) -> None:
    path = kit / "manifest.json"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "another":
        write_json(path, {"format": "another"})
    else:
        path.unlink()
    with pytest.raises(DamagedFileError, match=r"manifest\.json is .*: unpack the kit again"):
        read_manifest(kit)


# ------------------------------------------------------------------------------------ verifying


@pytest.fixture
def winner(tmp_path: Path) -> Path:
    """A network of the kit's workload with a name of its own for the input."""
    path = tmp_path / "winner.onnx"
    write_product(path, np.ones((4, 9), np.float32), 2, inputs=("tokens",))
    return path


def test_a_verification_has_the_winner_and_the_reference(kit: Path, memory: list[str], winner: Path) -> None:
    latency = _measured(kit)
    value = read_json(verify(kit, winner, Progress()))
    assert value["rounds"] == 2
    answer = value["answers"]["forward"]
    assert answer["onnx_sha256"] == digest(winner.read_bytes())
    assert answer["reference"] == latency["reference"]["forward"]
    assert PROCESSES <= len(answer["processes"]) <= PROCESSES + REPEATS
    for process in answer["processes"]:
        assert process["timing"]["p50_ms"] > 0
        assert process["reference"].keys() == REFERENCE["forward"].keys()
        assert process["arena_bytes"] == 5


def test_processes_in_which_the_reference_moved_are_followed_by_more(
    kit: Path, memory: list[str], winner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latency = _measured(kit)
    factors = [1.0, 1 + STEADY + 0.01, 1 - STEADY + 0.001, 1 - STEADY - 0.01, 1.0, 1.0]
    seeds: list[int] = []

    def time_networks(
        networks: Any, provider: str, threads: int, rounds: int, seed: int, finished: Any
    ) -> Any:
        seeds.append(seed)
        moved = {
            name: {k: v * factors[seed] if k.endswith("ms") else v for k, v in timing.items()}
            for name, timing in latency["reference"]["forward"].items()
        }
        timings = {**{key: {"p50_ms": 1.0} for key in networks}, **moved}
        return {"timings": timings, "waited": 0.9}  # a clock that stops while others have the core

    monkeypatch.setattr(verifying, "time_networks", time_networks)
    assert len(_processes(verify(kit, winner, Progress()))) == 5, "of these, three are steady"
    assert seeds == [0, 1, 2, 3, 4], "each in an order of its own"
    factors[:] = [2.0] * 6
    assert len(_processes(verify(kit, winner, Progress()))) == PROCESSES + REPEATS


def _processes(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(path)["answers"]["forward"]["processes"]
    return found


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"onnxruntime": "1.0"}, "onnxruntime 1.0, now "),
        ({"kit": "0"}, "kit 0, now "),
        ({"machine": {"name": "another"}}, "machine {'name': 'another'}, now "),
        ({"provider": "NoSuchProvider"}, "has no NoSuchProvider"),
        ({"format": "another"}, "is no latency file: `python measure.py` writes it again"),
    ],
)
def test_a_latency_file_of_other_conditions(
    kit: Path, memory: list[str], winner: Path, changed: dict[str, Any], told: str
) -> None:
    value = _measured(kit, 1)
    write_json(kit / "latency.json", {**value, **changed})
    with pytest.raises(HardwareCostError, match=re.escape(told)):
        verify(kit, winner, Progress())


def test_a_latency_file_that_is_damaged(kit: Path, winner: Path) -> None:
    (kit / "latency.json").write_text(json.dumps({"format": "latency file 1"}))
    with pytest.raises(DamagedFileError, match=r"latency\.json is damaged: `python measure\.py` writes it"):
        verify(kit, winner, Progress())


def test_a_winner_that_is_none(kit: Path, memory: list[str], winner: Path, tmp_path: Path) -> None:
    _measured(kit, 1)
    with pytest.raises(MeasurementError, match=r"nowhere\.onnx cannot be read: there is no such file"):
        verify(kit, tmp_path / "nowhere.onnx", Progress())
    write_product(winner, np.ones((4, 9), np.float32), 2, inputs=("a", "b"))
    with pytest.raises(
        MeasurementError, match=r"takes 2 inputs, the whole networks of this kit 1 \(forward\): it is "
    ):
        verify(kit, winner, Progress())
    write_product(winner, np.ones((5, 9), np.float32), 2)
    with pytest.raises(MeasurementError, match=r"a measuring process died: .*winner\.onnx does not run: "):
        verify(kit, winner, Progress())
    winner.write_bytes(b"no ONNX file")
    with pytest.raises(MeasurementError, match=r"winner\.onnx cannot be opened: ") as error:
        verify(kit, winner, Progress())
    assert "\n" not in str(error.value)
    assert not (kit / "verification.json").exists()
