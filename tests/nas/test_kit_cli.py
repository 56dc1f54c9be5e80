"""`nas kit`, from a space to a verdict: the board is a Python without torch."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hw_cost_models.cost import Workload
from nas import kit_cli, kit_verdict
from nas.budget import Budget
from nas.errors import BadInputError
from nas.start import search
from search_spaces.catalogue import SPACES
from search_spaces.errors import SearchSpaceError
from tests.hw_cost_models.kit.conftest import start_bare
from tests.nas.toys import EFFORT, TOY, ToyTask, toy_space

MODEL = ["--space", "toy", "--batch", "2", "--length", "1"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DNAS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(SPACES, "toy", TOY)


def _nas_kit(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(kit_cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def _on_the_board(*arguments: str) -> None:
    process = start_bare(Path("kit").resolve(), arguments)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


@pytest.mark.measured
def test_there_and_back() -> None:
    _nas_kit("make", *MODEL)
    with zipfile.ZipFile("kit.zip") as archive:
        archive.extractall()
    _on_the_board("--rounds", "4")
    device = str(Path("kit/latency.json").resolve())
    budget = Budget(latency_ms=1000.0, memory_mb=1.0)  # the toy takes microseconds, on any board
    found = search(
        *(toy_space(), ToyTask(), "run"), device=device, workload=Workload(2, 1), budget=budget, effort=EFFORT
    )
    assert (found.verdict, found.summary["measured"]) == ("predicted, not verified", None)
    assert found.summary["device"]["latency_file"]["path"] == device
    _nas_kit("pack", "run")
    for winner in ("winner.zip", "run/winner.onnx"):
        _on_the_board("--verify", str(Path(winner).resolve()))
        out = _nas_kit("verify", "run", "kit/verification.json")
        result = json.loads(Path("run/result.json").read_text())
        assert result["verdict"] == "within"
        assert 0 < result["measured"]["latency_ms"] < 1000
        assert 0 < result["measured"]["memory_mb"] < 1
        assert out.count("within") == 2, "of latency and memory"


def test_a_miss_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit_verdict, "close", lambda *_: {**json.loads(MISSED), "verification": {}})
    monkeypatch.setattr(kit_cli, "open_run", lambda _: None)
    monkeypatch.setattr(kit_cli, "space_and_task", lambda _: (None, None))
    assert "9.00" in _nas_kit("verify", "run", "verification.json", code=4)


MISSED = """{"verdict": "over", "budget": {"latency_ms": 8}, "predicted": {"latency_ms": 7},
    "measured": {"latency_ms": 9}}"""


def test_what_cannot_be_done() -> None:
    with pytest.raises(SearchSpaceError, match="no space 'nope'"):
        _nas_kit("make", "--space", "nope")
    with pytest.raises(BadInputError, match="has no decode step"):
        _nas_kit("make", *MODEL, "--context", "8")
    with pytest.raises(BadInputError, match="run holds no run"):
        _nas_kit("verify", "run", "verification.json")
    assert not Path("kit.zip").exists()
