"""What `--data` names: a generated task, text, images or sequences, by a name or by what lies at a path."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.array_files import array_examples, dimensions
from search_spaces.augmentation import Augmentation
from search_spaces.digits import digits
from search_spaces.errors import DataError
from search_spaces.fashion_mnist import fashion_mnist
from search_spaces.idx_files import idx_examples, is_idx
from search_spaces.image_files import SUFFIXES, folder_examples
from search_spaces.images import LabelledImages
from search_spaces.sequences import LabelledSequences
from search_spaces.synthetic import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Kind(Enum):
    """The value completes a sentence: what a space takes."""

    GENERATED = "a generated task"
    TEXT = "text"
    IMAGES = "images"
    SEQUENCES = "sequences of tokens with labels"


IMAGES: Mapping[str, Callable[[int | None], LabelledImages]] = {
    "digits": digits,
    "fashion-mnist": fashion_mnist,
}
"""Those that have a name."""
NAMES = (*KINDS, *IMAGES)


def kind_of(data: str) -> Kind:
    """Names come first: `./digits` is a folder. A folder is of images where more than half of its files are.

    Raises DataError for what is neither a name nor there, for an empty folder, and for arrays that cannot be
    read.
    """
    if data in NAMES:
        return Kind.IMAGES if data in IMAGES else Kind.GENERATED
    place = Path(data)
    if not place.exists():
        raise DataError(f"{data}: no such file or folder, and the names are {', '.join(NAMES)}")
    if place.suffix == ".npz":
        return Kind.SEQUENCES if dimensions(place) == 2 else Kind.IMAGES
    files = list(_files(place)) if place.is_dir() else [place.name]
    if not files:
        raise DataError(f"{data}: no file in the folder")
    images = sum(is_idx(name) or Path(name).suffix.lower() in SUFFIXES for name in files)
    return Kind.IMAGES if 2 * images > len(files) else Kind.TEXT


def images(data: str, length: int | None) -> LabelledImages:
    """By name, or at a path: a folder of classes, a folder of IDX files or an .npz file; `length` in pixels.

    Training images are shifted. Raises DataError for what cannot be used.
    """
    if data in IMAGES:
        return IMAGES[data](length)
    place = Path(data)
    if place.suffix == ".npz":
        examples = array_examples(place)
    elif place.is_dir() and any(path.is_file() and is_idx(path.name) for path in place.iterdir()):
        examples = idx_examples(place)
    else:
        examples = folder_examples(place, length)
    return LabelledImages(place.resolve().name, examples, length, Augmentation())


def sequences(data: str, length: int | None) -> LabelledSequences:
    """Of an .npz file. Raises DataError for what cannot be used."""
    return LabelledSequences(Path(data).resolve().name, array_examples(Path(data)), length)


def _files(folder: Path) -> Iterator[str]:
    """The names of the files at any depth, without hidden ones."""
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (name for name in files if not name.startswith("."))
