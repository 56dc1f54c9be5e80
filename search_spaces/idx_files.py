"""IDX files, the format of MNIST: arrays with their type and sizes before them.

https://yann.lecun.com/exdb/mnist (at the end): two zero bytes, one for the type, one for how many dimensions,
each dimension as a big-endian 32-bit number, then the values, the last dimension fastest.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from search_spaces.errors import DataError
from search_spaces.examples import joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from search_spaces.examples import Examples
    from search_spaces.space import Split

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_PARTS: Mapping[Split, str] = {"train": "train", "test": "t10k|test"}
"""How the names of files say which split they are of."""
_OVERHEAD = 4
"""Bytes before the dimensions."""


def is_idx(name: str) -> bool:
    """Whether a file is called as MNIST's are, such as train-images-idx3-ubyte.gz."""
    return name.removesuffix(".gz").endswith("-ubyte") and "idx" in name


def read_content(path: Path) -> bytes:
    """What the file holds, unpacked where it is packed by gzip: as far as it goes where it was cut short.

    Raises DataError, naming the file, for one that cannot be read or unpacked.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return unpacked(content, str(path))


def unpacked(content: bytes, place: str) -> bytes:
    """As `read_content`, of what was read at a place."""
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return zlib.decompressobj(wbits=31).decompress(content)
    except zlib.error as error:
        raise DataError(f"{place}: damaged, so that gzip cannot unpack it: {error}; get it again") from None


def parse_idx(content: bytes, path: Path) -> NDArray[np.generic]:
    """The array that an IDX file holds. Raises DataError, naming the file, for anything else."""
    start = content[:_OVERHEAD]
    if len(start) < _OVERHEAD or start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise DataError(f"{path}: not an IDX file: it begins with {start.hex(' ') or 'nothing'}")
    header = _OVERHEAD + 4 * start[3]
    sizes = struct.unpack(f">{start[3]}I", content[_OVERHEAD:header]) if len(content) >= header else ()
    kind = np.dtype(_TYPES[start[2]])
    needed = header + math.prod(sizes) * kind.itemsize
    if len(content) < needed:
        raise DataError(f"{path}: cut short: {len(content)} bytes of {needed}; get it again")
    if len(content) > needed:
        raise DataError(f"{path}: {len(content)} bytes, and its sizes {sizes} make {needed}; get it again")
    return np.frombuffer(content, kind, offset=header).reshape(sizes).astype(kind.newbyteorder("="))


def read_idx(path: Path) -> Tensor:
    """As `parse_idx`, of a file."""
    return torch.from_numpy(parse_idx(read_content(path), path))


def idx_examples(folder: Path, names: Sequence[str] | None = None) -> Examples:
    """Of a folder with MNIST's four files, packed or not, or with its two of the training split alone.

    They are called *train-images-idx3-ubyte and *train-labels-idx1-ubyte, with t10k or test in place of train
    for those to test on.

    Raises DataError, naming the file or the folder, for files that are missing or cannot be used.
    """
    files = _visible(folder)
    parts = {
        split: _pair(folder, files, part)
        for split, part in _PARTS.items()
        if split == "train" or any(re.search(f"({part}).images", name) for name in files)
    }
    return joined(str(folder), parts, names)


def _visible(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_file() and is_idx(path.name))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from None


def _pair(folder: Path, files: Sequence[str], part: str) -> tuple[Tensor, Tensor]:
    """Images and labels."""
    found = []
    for what in ("images.idx3", "labels.idx1"):
        name = next((name for name in files if re.search(f"({part}).{what}-ubyte", name)), None)
        if name is None:
            needed = f"{part.split('|')[0]}-{what}-ubyte".replace(".", "-")
            raise DataError(f"{folder}: no file {needed}, packed or not, among {', '.join(files)}")
        found.append(read_idx(folder / name))
    return found[0], found[1]
