"""Spaces by name: a person's own function, from the command line and back again when a run is resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import nas
from hw_cost_models.errors import SubjectError
from nas import cli, own_space
from nas.bilevel import Bilevel
from nas.errors import BadInputError
from nas.settings import PRESETS
from search_spaces import SearchSpaceError
from tests.nas.toys import EFFORT, OPTIONS, Killed, ToyTask, toy_space

MODULE = """
from tests.nas.toys import ToyTask, toy_space

def space_and_task():
    return toy_space(), ToyTask()

def space():
    return toy_space()

def task():
    return ToyTask()

def three():
    return toy_space(), ToyTask(), 3

def broken():
    from search_spaces import Choice
    return Choice({"only": None})
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "my_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    for name in ("my_package", "my_package.my_module"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def _nas(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_a_space_of_ones_own_with_its_task_and_without() -> None:
    space, task = own_space.space_and_task("my_package.my_module:space_and_task", None, None)
    assert (space.name, task.name) == ("toy", "toy")
    assert own_space.space_named("my_package.my_module:space").name == "toy"
    assert own_space.space_named("hybrid-lm").name == "hybrid-lm"
    assert own_space.length_of(task, None) == 1
    assert own_space.length_of(task, 7) == 7


def test_data_that_is_named_goes_to_a_space_without_a_task() -> None:
    _, task = own_space.space_and_task("my_package.my_module:space", "copying", 64)
    assert task.name == "copying"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("task", None, r"must return a SearchSpace, or \(SearchSpace, Task\), and it returned ToyTask"),
        ("three", None, r"it returned \(SearchSpace, ToyTask, int\)"),
        ("space", None, r"no task: give --data, or return \(space, task\)"),
        ("space_and_task", "texts", "--data texts: .* returns a task of its own"),
        ("nothing", None, "no function 'nothing'; it has space_and_task, space, task, three, broken"),
        ("broken", None, r"at least two options.*my_module\.py, line 18\)"),
    ],
)
def test_what_is_no_space_is_said_in_one_line(name: str, data: str | None, said: str) -> None:
    with pytest.raises((BadInputError, SubjectError), match=said) as caught:
        own_space.space_and_task(f"my_package.my_module:{name}", data, None)
    assert "\n" not in str(caught.value)


def test_names_that_are_not_there() -> None:
    with pytest.raises(SubjectError, match=r"no module 'my_package\.absent' in /"):
        own_space.space_named("my_package.absent:space")
    with pytest.raises(SearchSpaceError, match=r"no space 'my_module'; .* your own is named module:function"):
        own_space.space_named("my_module")
    with pytest.raises(SubjectError, match=r"named without \.py, as my_module:space"):
        own_space.space_named("my_module.py:space")


def test_a_function_that_returns_a_space_is_priced_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("space", "space_and_task"):
        assert _nas(monkeypatch, "cost", f"my_package.my_module:{name}", "--device", "raspberry-pi-5") == 0
        out = capsys.readouterr().out
        assert "tanh.x2" in out
        assert "whole architectures take" in out
    assert own_space.space_in("my_package.my_module:task") is None


def test_a_run_from_python_is_not_resumed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(self: object) -> None:
        raise Killed

    monkeypatch.setattr(Bilevel, "train_weights", killed)
    with pytest.raises(Killed):
        nas.search(toy_space(), ToyTask(), tmp_path / "run", device="raspberry-pi-5", effort=EFFORT)
    assert "pricing every option" in capsys.readouterr().err
    assert _nas(monkeypatch, "resume", tmp_path / "run") == 2
    assert "nas.resume(" in capsys.readouterr().err


def test_a_budget_that_is_a_number(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"budget=0.1: give a nas.Budget"):
        nas.search(toy_space(), ToyTask(), tmp_path / "run", budget=0.1)  # type: ignore[arg-type]


def test_a_search_that_was_killed_finds_its_space_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PRESETS, "quick", EFFORT)
    asked = ("search", "my_package.my_module:space_and_task", "--device", "raspberry-pi-5")
    assert _nas(monkeypatch, *asked, "--preset", "quick", "--out", "whole") == 0

    def killed(self: Bilevel) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Bilevel, "learn_architecture", killed)
        with pytest.raises(Killed):
            _nas(monkeypatch, *asked, "--preset", "quick", "--out", "stopped")
    assert _nas(monkeypatch, "resume", "stopped") == 0
    results = [json.loads((Path(run) / "result.json").read_text()) for run in ("whole", "stopped")]
    assert set(results[0]["architecture"]) <= set(OPTIONS)
    assert results[0]["architecture"] == results[1]["architecture"]
    assert results[0]["winner_sha256"] == results[1]["winner_sha256"]
    assert torch.get_num_threads() == 1

    capsys.readouterr()
    monkeypatch.chdir("my_package")
    assert _nas(monkeypatch, "export", Path("..") / "whole", "--out", "again.onnx") == 0
    for module in ("my_package", "my_package.my_module"):
        monkeypatch.delitem(sys.modules, module)
    assert _nas(monkeypatch, "export", Path("..") / "whole", "--out", "again.onnx") == 2
    assert "no module 'my_package' in" in capsys.readouterr().err


def test_two_spaces_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _nas(monkeypatch, "search", "my_package.my_module:space", "--space", "encoder") == 2
    assert "which of the two?" in capsys.readouterr().err
