"""A run for a board, closed by an answer whose figures are given."""

from __future__ import annotations

import shutil
import zipfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_cost_models.cost import Workload
from hw_cost_models.device import load_device
from hw_cost_models.files import digest, read_json, write_json
from hw_cost_models.kit.board.verifying import PROCESSES, REPEATS, STEADY, _wanted
from hw_cost_models.measure import Timing
from nas import kit_verdict
from nas import verify as verifying
from nas.budget import Budget
from nas.errors import BadInputError
from nas.kit_verdict import close, pack_winner
from nas.report.headline import VERDICTS
from nas.run import Run
from nas.start import resume, search
from nas.verify import verify
from tests.nas.toys import EFFORT, ToyTask, toy_space

if TYPE_CHECKING:
    from pathlib import Path

WORKLOAD = Workload(2, 1)
LIMIT_MS = 4.0
LATENCY_SHA = "a" * 64
REFERENCE = {
    name: {"p10_ms": 0.9 * ms, "p50_ms": ms, "p95_ms": 2 * ms, "rounds": 9}
    for name, ms in (("small", 2.0), ("large", 5.0))
}
BOARD = {
    "name": "board",
    "description": "measured by a kit",
    "runtime": "onnxruntime",
    "provider": "CPUExecutionProvider",
    "threads": 4,
    "here": False,
    "latency_file": {"path": "latency.json", "sha256": LATENCY_SHA},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose device is a board."""
    path = tmp_path_factory.mktemp("kit") / "run"
    budget = Budget(latency_ms=LIMIT_MS, memory_mb=1.0)
    device = "raspberry-pi-5"
    search(toy_space(), ToyTask(), path, device=device, workload=WORKLOAD, budget=budget, effort=EFFORT)
    write_json(path / "result.json", {**read_json(path / "result.json"), "device": BOARD})
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    shutil.copytree(finished, tmp_path / "run")
    return Run.open(tmp_path / "run")


def _process(ms: float, drift: float = 1.0, arena: int = 1000, waited: float | None = None) -> dict[str, Any]:
    timing = {"p10_ms": 0.9 * ms, "p50_ms": ms, "p95_ms": 2 * ms, "rounds": 9}
    moved = {
        name: {k: v * drift if k.endswith("ms") else v for k, v in reference.items()}
        for name, reference in REFERENCE.items()
    }
    usage = {"arena_bytes": arena, "resident_bytes": 10**7}
    return {"timing": timing, "reference": moved, "waited": waited, **usage}


def _answer(run: Run, *processes: dict[str, Any], **changes: Any) -> Path:
    """What the board would write beside the run's own latency file and of its own winner."""
    sha = digest((run.path / "winner.onnx").read_bytes())
    forward = {"onnx_sha256": sha, "reference": REFERENCE, "processes": list(processes)}
    value = {
        "format": "verification 1",
        "latency_sha256": LATENCY_SHA,
        "rounds": 9,
        "clock": "wall",
        "answers": {"forward": forward},
    }
    path = run.path.parent / "verification.json"
    write_json(path, {**value, **changes})
    return path


@pytest.mark.parametrize(
    ("processes", "verdict", "repeated"),
    [
        ([_process(3.9)] * 3, "within", 0),
        ([_process(3.9), _process(4.01), _process(3.9)], "over", 0),
        ([_process(4.2, drift=1.08)] * 3, "within", 0),
        ([_process(9.0, drift=1.3), *[_process(3.9)] * 3], "within", 1),
        ([_process(4.5, drift=1.3)] * 6, "undecided", 3),
        ([_process(9.0, waited=0.2), *[_process(3.9, waited=0.04)] * 3], "within", 1),
        ([_process(9.0, drift=1.3)] * 6, "over", 3),
    ],
)
def test_the_verdict(run: Run, processes: list[dict[str, Any]], verdict: str, repeated: int) -> None:
    before = read_json(run.path / "result.json")
    assert (before["verdict"], before["measured"]) == ("predicted, not verified", None)
    closed = close(run, toy_space(), _answer(run, *processes))
    assert closed == read_json(run.path / "result.json")
    assert closed["verdict"] == verdict
    assert closed["verification"]["repeated"] == repeated
    assert len(closed["verification"]["processes"]) == 3
    changed = {name for name in before if closed[name] != before[name]}
    assert changed <= {"verdict", "measured", "verification", "use"}
    page = (run.path / "report.html").read_text()
    assert VERDICTS[verdict].meaning in page
    assert VERDICTS["predicted, not verified"].meaning not in page


def test_the_figures_are_the_boards(run: Run) -> None:
    closed = close(run, toy_space(), _answer(run, _process(3.0), _process(2.0), _process(1.0, arena=3000)))
    assert closed["measured"]["latency_ms"] == 2.0
    weights = closed["predicted"]["params_m"] * 4  # of four bytes each, nothing else is kept
    assert closed["measured"]["memory_mb"] == pytest.approx(weights + 0.001, abs=1e-4)
    assert closed["measured"]["params_m"] == closed["predicted"]["params_m"]
    assert closed["use"]["limit"] == "latency_ms"
    assert closed["use"]["fraction"] == 0.5


def test_a_closed_run_stays_closed(run: Run) -> None:
    close(run, toy_space(), _answer(run, *[_process(3.9)] * 3))
    assert resume(run.path, toy_space(), ToyTask()).verdict == "within"
    assert close(run, toy_space(), _answer(run, *[_process(5.0)] * 3))["verdict"] == "over", "measured again"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"latency_sha256": "b" * 64}, "was measured beside another latency.json than"),
        ({"format": "another"}, "is no answer of a kit"),
        ({"answers": {}}, "tells nothing of forward, which"),
        (
            {"answers": {"forward": {"onnx_sha256": "c" * 64, "reference": {}, "processes": []}}},
            "is of another network than",
        ),
    ],
)
def test_an_answer_that_does_not_belong(run: Run, changes: dict[str, Any], told: str) -> None:
    before = (run.path / "result.json").read_bytes()
    with pytest.raises(BadInputError, match=told) as error:
        close(run, toy_space(), _answer(run, *[_process(1.0)] * 3, **changes))
    assert "\n" not in str(error.value)
    assert (run.path / "result.json").read_bytes() == before


def test_an_answer_that_is_cut_or_absent(run: Run) -> None:
    path = _answer(run, *[_process(1.0)] * 3)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInputError, match=r"verification\.json is cut or changed: copy it from the board"):
        close(run, toy_space(), path)
    with pytest.raises(BadInputError, match=r"nowhere\.json cannot be read: No such file"):
        close(run, toy_space(), path.with_name("nowhere.json"))


def test_a_run_that_no_kit_was_made_for(run: Run) -> None:
    answer = _answer(run, *[_process(1.0)] * 3)
    result = read_json(run.path / "result.json")
    del result["device"]["latency_file"]
    write_json(run.path / "result.json", result)
    with pytest.raises(BadInputError, match="is for board, which no kit measured"):
        close(run, toy_space(), answer)
    (run.path / "result.json").unlink()
    with pytest.raises(BadInputError, match="the run did not get that far"):
        close(run, toy_space(), answer)


def test_a_packed_winner_runs(run: Run, tmp_path: Path) -> None:
    pack_winner(run, toy_space(), tmp_path / "winner.zip")
    with zipfile.ZipFile(tmp_path / "winner.zip") as archive:
        archive.extractall(tmp_path)
    networks = read_json(tmp_path / "winner.json")["networks"]
    assert networks.keys() == {"forward"}
    model, inputs = (tmp_path / name for name in networks["forward"])
    assert model.read_bytes() == (run.path / "winner.onnx").read_bytes()
    with np.load(inputs) as arrays:
        (output,) = onnxruntime.InferenceSession(str(model)).run(None, dict(arrays))
    assert output.shape == (2, 4)


# ------------------------------------------------------------ how many processes a board measures

MOVED = st.one_of(st.just(1.0), st.floats(0.85, 1.15))


@given(
    moves=st.lists(st.tuples(*[MOVED] * 4), min_size=6, max_size=6),
    waited=st.lists(st.sampled_from([None, 0.0, 0.05, 0.06]), min_size=6, max_size=6),
    statistic=st.sampled_from(["p50", "p95"]),
    clock=st.sampled_from(["core", "wall"]),
)
def test_a_board_measures_as_many_processes_as_the_rule_needs(
    finished: Path,
    moves: list[tuple[float, ...]],
    waited: list[float | None],
    statistic: Any,
    clock: str,
) -> None:
    """Each percentile of each reference network moves as it likes."""
    measured: list[dict[str, Any]] = []
    while _wanted(measured, REFERENCE, clock):
        factors = iter(moves[len(measured)])
        process = _process(LIMIT_MS, waited=waited[len(measured)])
        for name, reference in REFERENCE.items():
            for percentile in ("p50_ms", "p95_ms"):
                process["reference"][name][percentile] = reference[percentile] * next(factors)
        measured.append(process)
    assert PROCESSES <= len(measured) <= PROCESSES + REPEATS
    anchors = {name: Timing(**timing) for name, timing in REFERENCE.items()}
    assembly: Any = SimpleNamespace(workload=WORKLOAD)
    bench = kit_verdict._Answers(
        assembly, load_device("local"), statistic, anchors, 9, clock_there=clock, answers=measured
    )
    found = verify(finished / "winner.onnx", (), {}, Budget(latency_ms=LIMIT_MS), bench)
    assert len(found.processes) == verifying.PROCESSES


def test_the_board_and_the_desk_count_alike() -> None:
    assert (PROCESSES, REPEATS) == (verifying.PROCESSES, verifying.REPEATS)
    assert STEADY < verifying.DRIFT
