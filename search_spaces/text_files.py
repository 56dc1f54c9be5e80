"""Text files of a folder: which are taken, and how they are dealt to train, validation and test."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from search_spaces.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read_texts(place: Path, pattern: str = "**/*") -> tuple[dict[str, bytes], int]:
    """The text files by name, and how many others were left out: hidden ones are not even counted.

    Raises DataError, naming the place, for one that is missing, empty, unreadable or not UTF-8 text.
    """
    try:
        return _read(place, pattern)
    except OSError as error:
        raise DataError(f"{error.filename or place}: cannot be read: {error.strerror}") from None


def _read(place: Path, pattern: str) -> tuple[dict[str, bytes], int]:
    if place.is_file():
        text = place.read_bytes()
        if not text:
            raise DataError(f"{place}: the file is empty")
        if not _is_text(text):
            raise DataError(f"{place}: not UTF-8 text, so it cannot be learnt as text")
        return {place.name: text}, 0
    if not place.is_dir():
        raise DataError(f"{place}: no such file or folder")
    files = {path.relative_to(place): path for path in sorted(place.glob(pattern)) if path.is_file()}
    visible = {name: path for name, path in files.items() if not any(p.startswith(".") for p in name.parts)}
    contents = {name.as_posix(): path.read_bytes() for name, path in visible.items()}
    texts = {name: text for name, text in contents.items() if text and _is_text(text)}
    if not texts:
        raise DataError(
            f"{place}: no text in the folder ({len(contents)} files, none UTF-8 text with content)"
        )
    return texts, len(contents) - len(texts)


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def shuffled(names: Iterable[str]) -> list[str]:
    """Ordered by a hash: the same everywhere, unrelated to what the files hold."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
