"""IDX files: every type of the format, packed or not, and one clear line for what was cut short."""

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import DataError
from search_spaces.idx_files import idx_examples, is_idx, parse_idx, read_idx

CODES = {8: "B", 9: "b", 11: "h", 12: "i", 13: "f", 14: "d"}


def idx(code: int, sizes: tuple[int, ...], values: list[float]) -> bytes:
    """By the format's description, a value at a time."""
    header = bytes((0, 0, code, len(sizes))) + b"".join(struct.pack(">I", size) for size in sizes)
    return header + b"".join(struct.pack(">" + CODES[code], value) for value in values)


def images(count: int, side: int = 3) -> bytes:
    return idx(8, (count, side, side), [value % 256 for value in range(count * side * side)])


def labels(count: int) -> bytes:
    return idx(8, (count,), [number % 2 for number in range(count)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {
        "train-images-idx3-ubyte.gz": gzip.compress(images(20)),
        "train-labels-idx1-ubyte.gz": gzip.compress(labels(20)),
        "t10k-images-idx3-ubyte": images(4),
        "t10k-labels-idx1-ubyte": labels(4),
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@settings(max_examples=15)
@given(st.sampled_from(sorted(CODES)), st.lists(st.integers(1, 4), max_size=3).map(tuple), st.integers(0, 99))
def test_arrays_are_read_as_they_were_written(code: int, sizes: tuple[int, ...], seed: int) -> None:
    draws = np.random.default_rng(seed)
    values = draws.integers(0, 128, math.prod(sizes)).tolist()
    found = parse_idx(idx(code, sizes, values), Path("some"))
    assert found.shape == sizes
    assert found.dtype.isnative
    assert found.flatten().tolist() == values


def test_names_of_files() -> None:
    assert all(
        is_idx(name) for name in ("train-images-idx3-ubyte", "t10k-labels.idx1-ubyte", "a-idx3-ubyte.gz")
    )
    assert not any(is_idx(name) for name in ("train.png", "idx.gz", "ubyte", "train-images-idx3-ubyte.txt"))


def test_a_folder_of_four_files(folder: Path) -> None:
    found = idx_examples(folder)
    assert found.inputs.shape == (24, 3, 3)
    assert found.inputs.dtype == torch.uint8
    assert found.inputs[:20].flatten().tolist() == list(range(180))
    assert found.inputs[20:].flatten().tolist() == list(range(36))
    assert found.splits["test"].tolist() == [20, 21, 22, 23]
    assert found.cut == ("validation",)
    assert found.source == str(folder)


def test_a_folder_without_files_to_test_on(folder: Path) -> None:
    for path in folder.glob("t10k*"):
        path.unlink()
    assert idx_examples(folder).cut == ("validation", "test")


def test_names_with_something_before_and_a_dot(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        path.rename(folder / ("letters-" + path.name.replace("-idx", ".idx").replace("t10k", "test")))
    assert len(idx_examples(folder).splits["test"]) == 4


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kept", [0, 3, 10, 100])
def test_a_file_cut_short_says_how_many_bytes_it_has_and_needs(
    tmp_path: Path, kept: int, packed: bool
) -> None:
    path, whole = tmp_path / "train-images-idx3-ubyte", images(20)
    path.write_bytes(gzip.compress(whole[:kept], mtime=0) if packed else whole[:kept])
    said = {0: "not an IDX file: it begins with nothing", 3: "not an IDX file: it begins with 00 00 08"}
    with pytest.raises(DataError, match=said.get(kept, f"cut short: {kept} bytes of")) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")
    if kept == 100:
        assert f"{kept} bytes of {len(whole)}" in str(caught.value)


def test_a_packed_file_cut_short(tmp_path: Path) -> None:
    path, noise = tmp_path / "train-images-idx3-ubyte.gz", np.random.default_rng(0).integers(0, 256, 9000)
    packed = gzip.compress(idx(8, (1000, 3, 3), noise.tolist()))
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"cut short: \d+ bytes of 9016; get it again"):
        read_idx(path)
    path.write_bytes(packed[:100] + b"\0\1\2" + packed[103:-8] + b"\0" * 8)
    with pytest.raises(DataError, match="damaged, so that gzip cannot unpack it"):
        read_idx(path)


def test_a_file_that_is_too_long_or_something_else(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(images(2) + b"\0")
    with pytest.raises(DataError, match=r"35 bytes, and its sizes \(2, 3, 3\) make 34"):
        read_idx(path)
    path.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match="not an IDX file: it begins with 89 50 4e 47"):
        read_idx(path)
    with pytest.raises(DataError, match="absent: cannot be read: No such file"):
        read_idx(tmp_path / "absent")


def test_a_folder_that_lacks_a_file(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="no file t10k-labels-idx1-ubyte, packed or not"):
        idx_examples(folder)
    (folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match="no file train-images-idx3-ubyte, packed or not, among"):
        idx_examples(folder)


def test_more_images_than_labels(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").write_bytes(labels(3))
    with pytest.raises(DataError, match=f"{folder}, test: 4 examples and 3 labels"):
        idx_examples(folder)
