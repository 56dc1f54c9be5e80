"""The README's commands parse and its Python example runs."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

from nas.cli import app
from nas.settings import PRESETS
from tests.nas.toys import EFFORT

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if line.startswith("nas ")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str) -> None:
    name, *arguments = shlex.split(command)[1:]
    parser = typer.main.get_command(app).commands[name]
    parser.make_context(name, arguments)


def test_the_example_stands_in_examples_too() -> None:
    (example,) = (block for language, block in BLOCKS if language == "python")
    assert (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8").endswith(example)


@pytest.mark.measured
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_examples_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "quick", EFFORT)  # the same phases in fewer steps
    runpy.run_path(str(path), run_name="__main__")
    assert "within" in capsys.readouterr().out
