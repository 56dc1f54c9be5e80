"""Fashion-MNIST: 70,000 images of clothes in ten classes (Xiao et al. 2017, arXiv:1708.07747)."""

from __future__ import annotations

import hashlib
import os
import secrets
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from search_spaces.augmentation import Augmentation
from search_spaces.errors import DataError
from search_spaces.idx_files import idx_examples, read_content, unpacked
from search_spaces.images import LabelledImages

if TYPE_CHECKING:
    from collections.abc import Mapping

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist has the files."""
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
"""Where its authors have them: https://github.com/zalandoresearch/fashion-mnist."""
CHECKSUMS: Mapping[str, str] = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of what the files unpack to. The published MD5 are of packed files, and Debian's, which lack a name
and a time in front, have others; with both put back, all four have the published ones."""
NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_TIMEOUT = 30.0
"""Seconds that a connection may take."""


def fashion_mnist(length: int | None = None) -> LabelledImages:
    """Its 10,000 images to test on, 6,000 for validation and 54,000 to train on, mirrored and shifted.

    From Debian's package where it is installed; otherwise from the user's cache folder, or $DNAS_CACHE_DIR,
    to which they are downloaded once, 31 MB. `length` is the side in pixels, 28 if None.

    Raises DataError where they cannot be downloaded, and for a file that is not the published one.
    """
    folder = DEBIAN if DEBIAN.is_dir() else _downloaded()
    for name, checksum in CHECKSUMS.items():
        if not _is_published(read_content(folder / name), checksum):
            raise DataError(f"{folder / name}: not the file that was published: remove it, or get it again")
    examples = idx_examples(folder, NAMES)
    return LabelledImages("fashion-mnist", examples, length, Augmentation(mirror=True))


def _downloaded() -> Path:
    """The folder of the cache, with all of them."""
    cache = Path(os.environ.get("DNAS_CACHE_DIR") or platformdirs.user_cache_dir("dnas"))
    folder = cache / "fashion-mnist"
    for name, checksum in CHECKSUMS.items():
        if not (folder / name).exists():
            _keep(folder / name, _fetched(f"{URL}/{name}", checksum))
    return folder


def _fetched(url: str, checksum: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            packed: bytes = answer.read()
        if _is_published(unpacked(packed, url), checksum):
            return packed
        reason = "it is not the file that was published"
    except (OSError, HTTPException, DataError) as error:
        reason = str(error)
    raise DataError(
        f"fashion-mnist: {url} cannot be downloaded ({reason}): install Debian's package "
        "dataset-fashion-mnist, or give a folder that has its four files"
    )


def _keep(path: Path, packed: bytes) -> None:
    """Whole or not at all."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.write_bytes(packed)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def _is_published(content: bytes, checksum: str) -> bool:
    return hashlib.sha256(content).hexdigest() == checksum
