"""Both schedules on the toy: what they record, what they learn, and that a kill changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nas import loop
from nas.bilevel import Bilevel
from nas.budget import Budget
from nas.controllers import CONTROLLERS
from nas.errors import DivergedError
from nas.progress import Silent
from nas.run import Run
from nas.settings import PRESETS
from nas.supernet import Supernet
from tests.nas.toys import OPTIONS, Killed, Toy, ToyTask, new_run, same, toy_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EFFORT = replace(
    PRESETS["quick"],
    supernet_steps=7,
    architecture_steps=8,
    batch_size=4,
    architecture_batch=4,
    architecture_rate=0.1,
    dual_rate=0.5,
)
BUDGET = Budget(latency_ms=3.0, memory_mb=0.9)


def _staged(bilevel: Bilevel) -> None:
    bilevel.train_weights()
    bilevel.learn_architecture()


SCHEDULES: dict[str, Callable[[Bilevel], None]] = {"staged": _staged, "joint": Bilevel.train_jointly}


def _bilevel(run: Run, controller: str = "gumbel", **changes: Any) -> Bilevel:
    table = toy_table()
    supernet = Supernet(Toy(), table, BUDGET, CONTROLLERS[controller])
    made = Bilevel(run, supernet, ToyTask(), table, BUDGET.limits(), EFFORT, 0, Silent())
    return replace(made, **changes)


def _lines(run: Run, phase: str) -> list[dict[str, Any]]:
    return [line for line in run.trajectory() if line["phase"] == phase]


def test_staged(tmp_path: Path) -> None:
    bilevel = _bilevel(new_run(tmp_path / "run"))
    bilevel.train_weights()
    assert not any(bool(alpha.any()) for alpha in bilevel.supernet.architecture_parameters())
    weights = {n: w.clone() for n, w in bilevel.supernet.network.state_dict().items()}
    bilevel.learn_architecture()
    assert all(torch.equal(weights[n], w) for n, w in bilevel.supernet.network.state_dict().items())
    assert all(bool(alpha.any()) for alpha in bilevel.supernet.architecture_parameters())
    first, second = _lines(bilevel.run, "supernet"), _lines(bilevel.run, "architecture")
    assert [line["step"] for line in first] == list(range(7))
    assert [line["step"] for line in second] == list(range(8))
    assert {"loss", "task_loss", "distillation_loss", "auxiliary_loss", "learning_rate"} <= first[0].keys()
    _check_architecture_lines(second)


def _check_architecture_lines(lines: list[dict[str, Any]]) -> None:
    """Uniform at first: 4.375 ms of 3, whose price then rises by half of what is over."""
    assert lines[0]["expected"]["latency_ms"] == pytest.approx(4.375)
    assert lines[0]["duals"]["latency_ms"] == pytest.approx(0.5 * (4.375 / 3 - 1))
    assert lines[0]["expected"].keys() == lines[0]["duals"].keys() == BUDGET.limits().keys()
    assert lines[0]["probabilities"] == {p: pytest.approx([1 / len(o)] * len(o)) for p, o in OPTIONS.items()}
    assert all(math.isfinite(line["loss"]) for line in lines)
    shown = [line["step"] for line in lines if "probabilities" in line]
    assert shown[0] == 0
    assert shown[-1] == lines[-1]["step"], "where it ended is what the report shows"


def test_joint(tmp_path: Path) -> None:
    bilevel = _bilevel(new_run(tmp_path / "run"))
    bilevel.train_jointly()
    lines = _lines(bilevel.run, "joint")
    assert [line["step"] for line in lines] == list(range(7))
    assert all(bool(alpha.any()) for alpha in bilevel.supernet.architecture_parameters())
    _check_architecture_lines(lines)
    assert {"task_loss", "distillation_loss"} <= lines[0].keys()


def test_the_joint_schedule_shows_where_it_ended(tmp_path: Path) -> None:
    effort = replace(EFFORT, supernet_steps=9, architecture_steps=100)
    bilevel = _bilevel(new_run(tmp_path / "run"), effort=effort)
    bilevel.train_jointly()
    assert "probabilities" in _lines(bilevel.run, "joint")[-1]


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_expected_costs_come_under_their_limits(tmp_path: Path, controller: str) -> None:
    effort = replace(EFFORT, architecture_steps=120, dual_rate=0.1)
    bilevel = _bilevel(new_run(tmp_path / "run"), controller, effort=effort)
    bilevel.learn_architecture()
    lines = _lines(bilevel.run, "architecture")
    if not CONTROLLERS[controller].learns:
        assert lines[-1]["expected"] == lines[0]["expected"]
        assert lines[-1]["duals"] == {"latency_ms": 0.0, "memory_mb": 0.0}
        return
    for name, limit in BUDGET.limits().items():
        assert lines[-1]["expected"][name] < 1.05 * limit
    assert max(line["duals"]["latency_ms"] for line in lines) > 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bilevel]:
    folder = tmp_path_factory.mktemp("runs")
    whole = {name: _bilevel(new_run(folder / name)) for name in SCHEDULES}
    for name, bilevel in whole.items():
        SCHEDULES[name](bilevel)
    return whole


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("pace", [-1.0, math.inf])
@pytest.mark.parametrize("killed_after", [0, 3, 6, 8, 13])
def test_killed_and_resumed_is_uninterrupted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: dict[str, Bilevel],
    schedule: str,
    pace: float,
    killed_after: int,
) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", pace)
    whole = uninterrupted[schedule]

    class Stopping(Silent):
        left = killed_after

        def advance(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    run = new_run(tmp_path / "run")
    if killed_after < len(whole.run.trajectory()):
        with pytest.raises(Killed):
            SCHEDULES[schedule](_bilevel(run, progress=Stopping()))
    resumed = _bilevel(Run.open(run.path))
    SCHEDULES[schedule](resumed)
    assert same(dict(whole.supernet.state_dict()), dict(resumed.supernet.state_dict()))
    assert run.trajectory() == whole.run.trajectory()
    for file in (run.path / "trajectory").iterdir():
        assert file.read_bytes() == (whole.run.path / "trajectory" / file.name).read_bytes()


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_a_loss_of_nan_stops_both_levels(tmp_path: Path, controller: str) -> None:
    bilevel = _bilevel(new_run(tmp_path / "run"), controller, task=ToyTask(scale=math.nan))
    with pytest.raises(DivergedError, match=r"^1-supernet, step 0: the loss is nan"):
        bilevel.train_weights()
    with pytest.raises(DivergedError, match=r"^2-architecture, step 0: the loss is nan"):
        bilevel.learn_architecture()
