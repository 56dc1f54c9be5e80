"""The machine's own words, from made-up system files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import hw_cost_models.machine as subject
from hw_cost_models.machine import cache_bytes, processor

if TYPE_CHECKING:
    from pathlib import Path


def _caches(folder: Path, *sizes: str) -> Path:
    for number, size in enumerate(sizes):
        (folder / f"index{number}").mkdir()
        (folder / f"index{number}" / "size").write_text(size)
    return folder


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [
        (("32K\n", "1024K\n", "32768K\n"), 32 * 1024**2),
        (("64K", "2M"), 2 * 1024**2),
        (("unknown\n",), None),
        ((), None),
    ],
)
def test_the_largest_cache(tmp_path: Path, sizes: tuple[str, ...], largest: int | None) -> None:
    assert cache_bytes(_caches(tmp_path, *sizes)) == largest


def test_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast One\nprocessor\t: 1\nmodel name\t: Fast Two\n")
    monkeypatch.setattr(subject, "_CPUINFO", info)
    assert processor() == "Fast One"
    monkeypatch.setattr(subject, "_CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(subject.platform, "processor", lambda: "x86_64")
    assert processor() == "x86_64"
