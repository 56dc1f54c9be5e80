"""Images as files: a folder with a sub-folder for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from search_spaces.errors import DataError, SearchSpaceError
from search_spaces.examples import Examples
from search_spaces.images import scaled
from search_spaces.space import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from search_spaces.space import Split

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
_GREY = frozenset(("1", "L"))
_COLOUR = frozenset(("RGB", "RGBA", "P", "LA", "PA", "CMYK", "YCbCr", "HSV", "LAB"))
_NAMES: Mapping[Split, Sequence[str]] = {
    "train": ("train",),
    "validation": ("validation", "val"),
    "test": ("test",),
}
"""How the sub-folder of a split may be called."""


def folder_examples(place: Path, length: int | None = None) -> Examples:
    """Of a folder with a sub-folder for each class, named as it, whose images are taken at any depth.

    Or of a folder with `train` and, where there are, `validation` (or `val`) and `test`, each with such
    sub-folders. Files that are not called as images, and hidden ones, are left out. Images are read whole
    into memory: grey ones with one channel, and, where one has colours, all with three, without transparency.
    `length` is the side in pixels to which `scaled` brings them; None keeps their size, which must be one.

    Raises DataError, naming the file, for an image that cannot be read, of another size than the first, or of
    more than 8 bits; naming the folder, for a class without images, and as `Examples` does. SearchSpaceError
    where Pillow is missing.
    """
    parts = _splits(place)
    names = [folder.name for folder in _sub_folders(parts["train"])]
    if len(names) < 2:
        found = f"only one sub-folder, {names[0]!r}" if names else "no sub-folder"
        raise DataError(
            f"{parts['train']}: {found}, and each class needs one: there is nothing to tell apart"
        )
    files: list[Path] = []
    labels: list[int] = []
    given: dict[Split, Tensor] = {}
    for split, folder in parts.items():
        start = len(files)
        for class_folder in _sub_folders(folder):
            if class_folder.name not in names:
                raise DataError(
                    f"{class_folder}: no class of that name to train on: those are {', '.join(names)}"
                )
            found_files = _images_of(class_folder)
            files += found_files
            labels += [names.index(class_folder.name)] * len(found_files)
        given[split] = torch.arange(start, len(files))
    return Examples(str(place), _read(files, length), torch.tensor(labels), given, names)


def _splits(place: Path) -> dict[Split, Path]:
    """The folder of each split; the place itself where it has none."""
    if not place.is_dir():
        what = "a file" if place.exists() else "no such folder"
        raise DataError(f"{place}: {what}; images are a folder with a sub-folder for each class")
    found = {split: place / name for split in SPLITS for name in _NAMES[split] if (place / name).is_dir()}
    return found if "train" in found and _sub_folders(found["train"]) else {"train": place}


def _sub_folders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from None


def _images_of(folder: Path) -> list[Path]:
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if not files:
        raise DataError(f"{folder}: no image in the folder of a class: put some there, or remove it")
    return files


def _read(files: Sequence[Path], length: int | None) -> Tensor:
    """(images, height, width, channels), uint8."""
    pillow = _pillow()
    first: Path | None = None
    images: list[Tensor] = []
    for file in files:
        image = _pixels(pillow, file)
        if length is not None:
            image = scaled(image.permute(2, 0, 1)[None], length)[0].permute(1, 2, 0)
        elif first and image.shape[:2] != images[0].shape[:2]:
            raise DataError(
                f"{file}: {_size(image)} pixels, and {first} has {_size(images[0])}: give a length, the side "
                "in pixels, and all are scaled and cut to it"
            )
        first = first or file
        images.append(image)
    channels = max(image.shape[-1] for image in images)
    return torch.stack([image.expand(-1, -1, channels) for image in images])


def _size(image: Tensor) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _pixels(pillow: Any, file: Path) -> Tensor:
    """(height, width, 1 or 3), uint8."""
    try:
        with pillow.open(file) as image:
            if image.mode not in _GREY | _COLOUR:
                raise DataError(f"{file}: more than 8 bits a pixel ({image.mode}): save it with 8")
            pixels = np.array(image.convert("L" if image.mode in _GREY else "RGB"))
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise DataError(f"{file}: not an image that can be read ({error}): mend it, or remove it") from None
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise SearchSpaceError(
            "reading images needs Pillow; install the extra: pip install 'dnas[vision]'"
        ) from None
    return Image
