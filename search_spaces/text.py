"""ByteText: predict the next byte of text; the standard library's sources are a text at hand everywhere."""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from search_spaces.classification import Classification
from search_spaces.errors import DataError, SearchSpaceError
from search_spaces.space import SPLITS
from search_spaces.text_files import read_texts, shuffled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from search_spaces.space import Batch, Split

_FILES_TO_SPLIT_BY = 10
"""From so many files on each split gets whole files; below, each file is cut in three."""


class ByteText(Classification):
    """A byte-level language-model task: 80 % of the text to train on, 10 % for validation, 10 % to test.

    `path` is a text file, or a folder whose text files are taken at any depth (hidden ones and those that
    are not UTF-8 text are left out); None takes the standard library's own top-level modules. An example is
    `length` bytes, int64, and the `length` bytes that follow each of them.

    Raises DataError, naming the path, for data that is missing, empty, unreadable, not text or too short.
    """

    metric_name = "bits per byte"
    classes = 256

    def __init__(self, path: Path | None = None, length: int = 256) -> None:
        if length < 1:
            raise SearchSpaceError(f"a sequence needs at least one byte, got length {length}")
        place = path or Path(sysconfig.get_path("stdlib"))
        texts, self._skipped = read_texts(place, "**/*" if path else "*.py")
        self.name = place.resolve().name if path else "python-stdlib"
        self.length = length
        self._source = str(path) if path else f"standard library of Python {platform.python_version()}"
        self._files = len(texts)
        splits = _split(texts)
        _check_lengths(splits, place, length)
        self._digest = hashlib.sha256(
            b"".join(hashlib.sha256(s).digest() for s in splits.values())
        ).hexdigest()
        self._data = {name: torch.frombuffer(text, dtype=torch.uint8) for name, text in splits.items()}

    def describe(self) -> dict[str, object]:
        """Source, files taken and left out, bytes per split, and a digest of the bytes in their splits."""
        return {
            "source": self._source,
            "files": self._files,
            "skipped_files": self._skipped,
            "bytes": {split: len(data) for split, data in self._data.items()},
            "length": self.length,
            "sha256": self._digest,
        }

    def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
        """`size` windows at random places: tokens and targets, both (size, length)."""
        places = len(self._data[split]) - self.length
        return self._windows(split, torch.randint(places, (size,), generator=generator))

    def batches(self, split: Split, size: int, count: int) -> Iterator[Batch]:
        """Up to `count` batches of equal size; fewer, or smaller, where the windows would overlap."""
        last = len(self._data[split]) - self.length - 1
        apart = last // self.length + 1
        size = min(size, apart)
        windows = size * min(count, apart // size)
        starts = torch.arange(windows) * last // max(1, windows - 1)
        for first in range(0, windows, size):
            yield self._windows(split, starts[first : first + size])

    def _windows(self, split: Split, starts: Tensor) -> Batch:
        windows = self._data[split][starts[:, None] + torch.arange(self.length + 1)].long()
        return (windows[:, :-1],), windows[:, 1:]


def _split(texts: Mapping[str, bytes]) -> dict[Split, bytearray]:
    """By file, ordered by a hash of the name (the same everywhere, unrelated to content), or by range."""
    splits: dict[Split, bytearray] = {split: bytearray() for split in SPLITS}
    if len(texts) >= _FILES_TO_SPLIT_BY:
        names = shuffled(texts)
        for split, part in zip(SPLITS, _eighty_ten_ten(len(names)), strict=True):
            splits[split] += b"".join(texts[name] for name in names[part])
        return splits
    for text in texts.values():
        for split, part in zip(SPLITS, _eighty_ten_ten(len(text)), strict=True):
            splits[split] += text[part]
    return splits


def _eighty_ten_ten(count: int) -> tuple[slice, slice, slice]:
    first, second = count * 8 // 10, count * 9 // 10
    return slice(first), slice(first, second), slice(second, count)


def _check_lengths(splits: Mapping[Split, bytearray], place: Path, length: int) -> None:
    """Raises DataError when a split does not hold one sequence and the byte that follows it."""
    shortest = min(splits, key=lambda split: len(splits[split]))
    if len(splits[shortest]) <= length:
        raise DataError(
            f"{place}: only {len(splits[shortest])} bytes for the {shortest} split and a sequence needs "
            f"{length + 1}: give some {10 * (length + 1)} bytes or more, or a shorter length than {length}"
        )
