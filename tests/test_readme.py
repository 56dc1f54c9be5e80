"""The README's commands parse, and what it shows is tested."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from nas.cli import app

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


def test_every_example_is_tested() -> None:
    for path in (ROOT / "examples").glob("*.py"):
        assert (ROOT / "tests" / "examples" / f"test_{path.name}").exists(), path
