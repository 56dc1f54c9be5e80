"""LabelledText: which class does a piece of text belong to; packages of the standard library are at hand."""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from search_spaces.classification import Classification
from search_spaces.errors import DataError, SearchSpaceError
from search_spaces.space import SPLITS
from search_spaces.text_files import read_texts, shuffled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from search_spaces.space import Batch, Split

    Splits = dict[Split, bytes]

_PACKAGES = 16
"""So many of the standard library's packages are told apart, the largest first."""
_PACKAGE_FILES = 5
"""Packages of fewer files are left out."""
_TESTS = "test"
"""The package of tests is about all others, and not installed everywhere."""


class LabelledText(Classification):
    """Pieces of text, int64 bytes (batch, length), and the classes they come from, (batch,).

    `path` is a folder with a sub-folder for each class, named as it, whose text files are taken at any depth
    (hidden ones and those that are not UTF-8 text are left out). None takes the largest packages of the
    standard library, a class each. Of every class, a tenth of the files (at least one) is for validation, a
    tenth for test, so that no file is in two splits. All classes are drawn equally often, and a piece
    anywhere in its class: who only guesses is right once in as many times as there are classes.

    Raises DataError, naming the path, for data that is missing, unreadable, not text or too little, and for
    fewer than two classes.
    """

    metric_name = "bits per text"

    def __init__(self, path: Path | None = None, length: int = 512) -> None:
        if length < 1:
            raise SearchSpaceError(f"a text needs at least one byte, got length {length}")
        self.length = length
        if path is None:
            self.name = "python-packages"
            self._source = f"packages of the standard library of Python {platform.python_version()}"
            classes = _largest_packages(length)
        else:
            self.name, self._source = path.resolve().name, str(path)
            classes = _read_classes(path, length)
        self.labels = tuple(classes)
        self.classes = len(classes)
        self._bytes = {
            label: {s: len(text) for s, text in splits.items()} for label, splits in classes.items()
        }
        self._digest = _digest(classes)
        self._data = {
            split: [
                torch.frombuffer(bytearray(texts[split]), dtype=torch.uint8) for texts in classes.values()
            ]
            for split in SPLITS
        }

    def describe(self) -> dict[str, object]:
        """Source, classes with their bytes per split, how they are drawn, and a digest of it all."""
        return {
            "source": self._source,
            "length": self.length,
            "classes": self._bytes,
            "drawn": "every class equally often",
            "error_by_chance": 1 - 1 / self.classes,
            "sha256": self._digest,
        }

    def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
        """`size` pieces, class and place drawn: (size, length) and (size,)."""
        labels = torch.randint(self.classes, (size,), generator=generator)
        return self._pieces(split, labels, torch.rand(size, generator=generator, dtype=torch.float64))

    def batches(self, split: Split, size: int, count: int) -> Iterator[Batch]:
        """`count` batches that take the classes in turn, the pieces of each spread evenly over it.

        Where a class has fewer bytes than its pieces together, they overlap.
        """
        last = max(1, (size * count - 1) // self.classes)
        for number in range(count):
            pieces = torch.arange(number * size, (number + 1) * size)
            yield self._pieces(split, pieces % self.classes, (pieces // self.classes).double() / last)

    def _pieces(self, split: Split, labels: Tensor, places: Tensor) -> Batch:
        """`places`, between 0 and 1, are those within the classes' texts."""
        pieces = []
        for label, place in zip(labels.tolist(), places.tolist(), strict=True):
            text = self._data[split][label]
            start = round(place * (len(text) - self.length))
            pieces.append(text[start : start + self.length])
        return (torch.stack(pieces).long(),), labels


def _largest_packages(length: int) -> dict[str, Splits]:
    """The standard library's, by name; those whose splits do not hold one piece are left out."""
    packages = sorted(p.parent for p in Path(sysconfig.get_path("stdlib")).glob("*/__init__.py"))
    texts = {p.name: read_texts(p, "**/*.py")[0] for p in packages if p.name != _TESTS}
    splits = {name: _split(files) for name, files in texts.items() if len(files) >= _PACKAGE_FILES}
    long_enough = {name: parts for name, parts in splits.items() if min(map(len, parts.values())) >= length}
    largest = sorted(long_enough, key=lambda name: -sum(map(len, long_enough[name].values())))[:_PACKAGES]
    if len(largest) < 2:
        raise DataError(
            f"only {len(largest)} packages of the standard library have pieces of {length} bytes in every "
            f"split: take a shorter length"
        )
    return {name: long_enough[name] for name in sorted(largest)}


def _read_classes(place: Path, length: int) -> dict[str, Splits]:
    if not place.is_dir():
        what = "a file" if place.exists() else "no such folder"
        raise DataError(f"{place}: {what}; labelled text is a folder with a sub-folder for each class")
    try:
        folders = sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise DataError(f"{place}: cannot be read: {error.strerror}") from None
    if len(folders) < 2:
        found = f"only one sub-folder, {folders[0].name!r}" if folders else "no sub-folder"
        raise DataError(f"{place}: {found}, and each class needs one: there is nothing to tell apart")
    return {folder.name: _read_class(folder, length) for folder in folders}


def _read_class(folder: Path, length: int) -> Splits:
    texts, _ = read_texts(folder)
    if len(texts) < len(SPLITS):
        raise DataError(
            f"{folder}: {len(texts)} text files, and a class needs {len(SPLITS)}: "
            f"no file is in two of {', '.join(SPLITS)}"
        )
    splits = _split(texts)
    shortest = min(SPLITS, key=lambda split: len(splits[split]))
    if len(splits[shortest]) < length:
        raise DataError(
            f"{folder}: only {len(splits[shortest])} bytes in its {shortest} files, and a piece has "
            f"{length}: give longer files, or a shorter length"
        )
    return splits


def _split(texts: Mapping[str, bytes]) -> Splits:
    """Whole files, in an order that has nothing to do with what they hold."""
    names = shuffled(texts)
    tenth = max(1, len(names) // 10)
    parts = names[2 * tenth :], names[tenth : 2 * tenth], names[:tenth]
    return {s: b"".join(texts[n] for n in part) for s, part in zip(SPLITS, parts, strict=True)}


def _digest(classes: Mapping[str, Splits]) -> str:
    whole = hashlib.sha256()
    for label, splits in classes.items():
        for text in splits.values():
            whole.update(hashlib.sha256(label.encode()).digest() + hashlib.sha256(text).digest())
    return whole.hexdigest()
