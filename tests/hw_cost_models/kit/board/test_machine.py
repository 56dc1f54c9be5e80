"""The name of the machine, from the files that Linux writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hw_cost_models import machine as hw_machine
from hw_cost_models.kit.board import machine as module
from hw_cost_models.kit.board.machine import machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("board", "cpuinfo", "name", "processor"),
    [
        (
            b"Raspberry Pi 5 Model B Rev 1.0\0",
            b"processor : 0\n",
            "Raspberry Pi 5 Model B Rev 1.0",
            "aarch64",
        ),
        (
            None,
            b"processor : 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: x\n",
            *["Some CPU @ 2 GHz"] * 2,
        ),
        (None, None, "aarch64", "aarch64"),
    ],
)
def test_name_and_processor(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    board: bytes | None,
    cpuinfo: bytes | None,
    name: str,
    processor: str,
) -> None:
    for place, attribute, content in ((module, "_BOARD", board), (hw_machine, "_CPUINFO", cpuinfo)):
        path = tmp_path / attribute
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setattr(place, attribute, path)
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    found = machine()
    assert (found["name"], found["processor"]) == (name, processor)
    assert found["cores"] == os.cpu_count()
