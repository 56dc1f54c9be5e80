"""Where measurements are kept, and that those of different conditions are kept apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_cost_models.cache import cache_folder, cache_path, keep
from hw_cost_models.device import load_device
from hw_cost_models.files import read_json

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNAS_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DNAS_CACHE_DIR")
    assert cache_folder().name == "dnas"


def test_conditions_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = load_device("local")

    def paths() -> list[Path]:
        return [
            cache_path("latency", device, tmp_path),
            cache_path("roofline", device, tmp_path),
            cache_path("latency", device.with_threads(2), tmp_path),
            cache_path("latency", device.with_runtime("onnxruntime", "CUDAExecutionProvider"), tmp_path),
            cache_path("latency", device, tmp_path, {0: "batch"}),
        ]

    here = paths()
    assert len(set(here)) == len(here)
    assert paths() == here
    monkeypatch.setattr("hw_cost_models.cache.processor", lambda: "another one")
    assert not set(paths()) & set(here)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    assert keep(tmp_path / "new" / "value.json", {"format": 1}) is None
    assert read_json(tmp_path / "new" / "value.json") == {"format": 1}
    (tmp_path / "file").write_text("in the way")
    assert isinstance(keep(tmp_path / "file" / "value.json", {}), OSError)
