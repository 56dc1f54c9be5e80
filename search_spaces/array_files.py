"""Arrays as data: an .npz file of images or sequences and their labels."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from search_spaces.errors import DataError
from search_spaces.examples import joined
from search_spaces.space import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from search_spaces.examples import Examples
    from search_spaces.space import Split

_WANTED = "x and y, or x_train and y_train and, where there are, those of validation and test"


def dimensions(path: Path) -> int:
    """How many the inputs have: 2 of sequences, 3 or 4 of images. Raises DataError as `array_examples`."""
    inputs, _ = _read(path)["train"]
    return inputs.ndim


def array_examples(path: Path) -> Examples:
    """Of an .npz file with `x` (examples, ...) and `y` (examples,), the classes, from 0.

    Or with `x_train` and `y_train`, and `x_validation`, `y_validation`, `x_test` and `y_test` or not: the
    names of Keras. Images are (examples, height, width) or (examples, height, width, channels), and taken as
    float32 where they are not uint8. Sequences are (examples, length), whole numbers.

    Raises DataError, naming the file, for one that cannot be read, arrays that are missing, hold objects or
    differ in number, and as `Examples` does.
    """
    return joined(str(path), {s: (_inputs(x), torch.from_numpy(y)) for s, (x, y) in _read(path).items()})


def _read(path: Path) -> dict[Split, tuple[NDArray[Any], NDArray[Any]]]:
    try:
        with path.open("rb") as file:  # which numpy would leave open where it holds no arrays
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: a single array, and an .npz file has {_WANTED}")
            pairs = _pairs(path, arrays)
            return {s: (_numbers(path, arrays, x), _numbers(path, arrays, y)) for s, (x, y) in pairs.items()}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not arrays that can be read: {str(error).splitlines()[0]}") from None


def _pairs(path: Path, arrays: Mapping[str, object]) -> dict[Split, tuple[str, str]]:
    """The names of the arrays of each split that there is."""
    named: dict[Split, tuple[str, str]] = {split: (f"x_{split}", f"y_{split}") for split in SPLITS}
    if "x" in arrays:
        named = {"train": ("x", "y")}
    pairs = {split: names for split, names in named.items() if names[0] in arrays}
    missing = next((y for _, y in pairs.values() if y not in arrays), None)
    if "train" not in pairs or missing:
        found = f"without {missing}" if missing else "no such arrays"
        raise DataError(f"{path}: {found}: it holds {', '.join(arrays) or 'nothing'}, and needs {_WANTED}")
    return pairs


def _numbers(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    values = arrays[name]
    if values.dtype.kind not in "iuf":
        raise DataError(f"{path}: {name} is of type {values.dtype}, and neither whole numbers nor real ones")
    return values


def _inputs(values: NDArray[Any]) -> Tensor:
    """Images as uint8 or float32; anything else as it is."""
    if values.ndim in (3, 4) and values.dtype != np.uint8:
        values = values.astype(np.float32)
    return torch.from_numpy(values)
