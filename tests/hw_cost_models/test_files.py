"""Files stay whole: cut, changed, full disk."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_cost_models.errors import DamagedFileError
from hw_cost_models.files import digest, read_json, write_atomic, write_json

if TYPE_CHECKING:
    from pathlib import Path

_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=st.dictionaries(st.text().filter(lambda key: key != "sha256"), _plain, max_size=4))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("files") / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_cut_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_json(path, {"latency_ms": 1.25, "name": "día", "list": [1, 2, {"a": None}]})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=r"table\.json is damaged.*delete it"):
            read_json(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"[1]",
        b'{"a": 1}',
        b'{"a": NaN, "sha256": "x"}',
        b'{"a": 1, "sha256": "0"}',
        b"[" * 100_000,
    ],
)
def test_not_a_sealed_object(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"table\.json"):
        read_json(path)


def test_one_changed_figure_breaks_the_seal(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_json(path, {"latency_ms": 1.25})
    path.write_text(path.read_text().replace("1.25", "0.25"))
    with pytest.raises(DamagedFileError, match="does not match its seal"):
        read_json(path)


def test_layout_is_not_content(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_json(path, {"b": 1, "a": 2})
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True))
    assert read_json(path) == {"a": 2, "b": 1}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_json_is_refused_and_the_old_file_stays(tmp_path: Path, value: float) -> None:
    path = tmp_path / "table.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": value})
    assert read_json(path) == {"a": 1}


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "table.json"
    write_json(path, {"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left") as caught:
            write_json(path, {"a": 2})
    assert caught.value.errno == errno.ENOSPC
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.json"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    write_atomic(tmp_path / "bytes", b"0123456789")
    assert (tmp_path / "bytes").read_bytes() == b"0123456789"


def test_digest_is_sha256() -> None:
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
