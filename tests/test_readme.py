"""The README's commands parse and its Python example runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from nas.cli import app
from nas.settings import PRESETS, Effort

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if line.startswith("nas ")
]
EXAMPLES = [block for language, block in BLOCKS if language == "python"]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str) -> None:
    name, *arguments = shlex.split(command)[1:]
    parser = typer.main.get_command(app).commands[name]
    parser.make_context(name, arguments)


@pytest.mark.measured
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(
    example: str,
    tiny: Effort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "quick", tiny)
    exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    assert "within" in capsys.readouterr().out
