"""Arrays in .npz files: as they were saved, in the splits of their names; one line for what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces import DataError
from search_spaces.array_files import array_examples, dimensions
from search_spaces.sequences import LabelledSequences

X, Y = np.arange(240).reshape(60, 4), np.arange(60) % 3


def saved(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def test_x_and_y(tmp_path: Path) -> None:
    path = saved(tmp_path, x=X, y=Y)
    found = array_examples(path)
    assert np.array_equal(found.inputs, X)
    assert np.array_equal(found.labels, Y)
    assert (found.cut, found.source) == (("validation", "test"), str(path))
    assert LabelledSequences("mine", found).length == 4
    assert dimensions(path) == 2


def test_arrays_of_the_splits(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        **{"x_train": X, "y_train": Y, "x_test": X[:5], "y_test": Y[:5]},
        **{"x_validation": X[5:7], "y_validation": Y[5:7], "about": "something else"},
    )
    found = array_examples(path)
    for split, expected in (("train", X), ("validation", X[5:7]), ("test", X[:5])):
        assert np.array_equal(found.inputs[found.splits[split]], expected)
    assert found.cut == ()


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (np.uint8, torch.uint8),
        (np.float64, torch.float32),
        (np.int64, torch.float32),
        (np.uint16, torch.float32),
    ],
)
@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 3)])
def test_images_are_bytes_or_real_values(
    tmp_path: Path, shape: tuple[int, ...], dtype: type, kept: torch.dtype
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, *shape)).astype(dtype)
    path = saved(tmp_path, x=images, y=Y.astype(np.uint8))
    found = array_examples(path)
    assert found.inputs.dtype == kept
    assert np.array_equal(found.inputs, images)
    assert dimensions(path) == len(shape) + 1


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": X}, "without y: it holds x, and needs x and y, or x_train"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "without y_test: it holds x_train, y_train, x_test"),
        ({"x_test": X, "y_test": Y}, "no such arrays: it holds x_test, y_test, and needs"),
        ({}, "no such arrays: it holds nothing"),
        ({"x": X, "y": Y[:50]}, "60 examples and 50 labels"),
        ({"x": X, "y": Y + 1}, "no example to train on has 0"),
        ({"x": X, "y": Y - 1}, "label -1"),
        ({"x": X, "y": Y / 2}, "one whole number"),
        ({"x": X, "y": Y[:, None]}, r"labels of shape \(60, 1\)"),
        ({"x": X, "y": Y.astype(object)}, "not arrays that can be read: Object arrays cannot be loaded"),
        ({"x": X, "y": Y.astype(str)}, "y is of type <U21, and neither whole numbers nor real ones"),
        (
            {"x": X.astype(np.complex64), "y": Y},
            "x is of type complex64, and neither whole numbers nor real ones",
        ),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    path = saved(tmp_path, **arrays)
    with pytest.raises(DataError, match=said) as caught:
        array_examples(path)
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    path = saved(tmp_path, x=X, y=Y)
    whole = path.read_bytes()
    for content, said in (
        (whole[: len(whole) // 2], "not arrays that can be read: File is not a zip file"),
        (b"something else", "not arrays that can be read: "),
        (b"", "not arrays that can be read: No data left in file"),
        (whole[:200] + b"\xff" * 20 + whole[220:], "not arrays that can be read: Bad CRC-32"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=said) as caught:
            array_examples(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    np.save(tmp_path / "one.npy", X)
    path.write_bytes((tmp_path / "one.npy").read_bytes())
    with pytest.raises(DataError, match=r"a single array, and an \.npz file has x and y"):
        array_examples(path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        array_examples(tmp_path / "absent.npz")
