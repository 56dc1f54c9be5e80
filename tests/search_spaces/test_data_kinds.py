"""What `--data` names: a name, or what lies at a path, told apart before anything is learnt."""

from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces import DataError, data_kinds
from search_spaces.data_kinds import NAMES, Kind, images, kind_of, sequences
from search_spaces.synthetic import KINDS
from tests.search_spaces.test_idx_files import images as idx_images
from tests.search_spaces.test_idx_files import labels as idx_labels
from tests.search_spaces.test_image_files import save


def arrays(path: Path, *shape: int) -> Path:
    np.savez(path, x=np.arange(30 * int(np.prod(shape))).reshape(30, *shape) % 256, y=np.arange(30) % 3)
    return path


def test_names_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        Path(name).write_text("text")
        assert kind_of(name) == (Kind.GENERATED if name in KINDS else Kind.IMAGES)
        assert kind_of(f"./{name}") == Kind.TEXT


def test_folders_are_of_what_most_of_their_files_are(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "a" / "deep" / f"{number}.png")
        save(tmp_path / ".hidden" / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("text")
    assert kind_of(str(tmp_path)) == Kind.TEXT
    save(tmp_path / "b" / "one.JPG")
    assert kind_of(str(tmp_path)) == Kind.IMAGES
    assert kind_of(str(tmp_path / "0.txt")) == Kind.TEXT
    assert kind_of(str(tmp_path / "b" / "one.JPG")) == Kind.IMAGES


def test_arrays_are_of_what_their_dimensions_say(tmp_path: Path) -> None:
    for shape, kind in (((5,), Kind.SEQUENCES), ((5, 5), Kind.IMAGES), ((5, 5, 3), Kind.IMAGES)):
        assert kind_of(str(arrays(tmp_path / "mine.npz", *shape))) == kind


def test_what_is_not_there_and_what_is_empty(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^digit: no such file or folder, and the names are recall, .*, digits"
    ):
        kind_of("digit")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").touch()
    with pytest.raises(DataError, match=f"^{tmp_path}: no file in the folder"):
        kind_of(str(tmp_path))


def test_images_by_path(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(4):
            save(tmp_path / "photos" / label / f"{number}.png", size=(9, 6), mode="RGB")
    (tmp_path / "idx").mkdir()
    (tmp_path / "idx" / "train-images-idx3-ubyte").write_bytes(idx_images(20))
    (tmp_path / "idx" / "train-labels-idx1-ubyte").write_bytes(idx_labels(20))
    arrays(tmp_path / "mine.npz", 5, 5, 2)
    for name, asked, classes, channels, length in (
        ("photos", 6, 2, 3, 6),
        ("idx", None, 2, 1, 3),
        ("idx", 12, 2, 1, 12),
        ("mine.npz", None, 3, 2, 5),
    ):
        task = images(str(tmp_path / name), asked)
        assert (task.name, task.classes, task.channels, task.length) == (name, classes, channels, length)
        assert task.describe()["augmentation"] == {"border": 1 / 14, "mirror": False}
    with pytest.raises(DataError, match=r"images of 9x6 pixels, .* give a length"):
        images(str(tmp_path / "photos"), None)


def test_images_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(data_kinds, "IMAGES", {"digits": asked.append})
    images("digits", 12)
    assert asked == [12]


def test_sequences_by_path(tmp_path: Path) -> None:
    task = sequences(str(arrays(tmp_path / "mine.npz", 7)), None)
    (tokens,), labels = task.sample("train", 3, torch.Generator().manual_seed(0))
    assert (task.name, tokens.shape, labels.shape) == ("mine.npz", (3, 7), (3,))
