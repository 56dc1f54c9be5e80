"""Folders of images: pixels as Pillow has them, splits as folders say, one clear line for what is wrong."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_spaces import DataError, SearchSpaceError
from search_spaces.image_files import folder_examples


def save(path: Path, value: int = 0, size: tuple[int, int] = (4, 4), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten images, each of a grey of its own."""
    for number in range(10):
        save(tmp_path / "photos" / "cat" / f"{number}.png", number)
        save(tmp_path / "photos" / "dog" / "deep" / f"{number}.PNG", 100 + number)
    return tmp_path / "photos"


def test_classes_are_the_sub_folders(folder: Path) -> None:
    save(folder / "cat" / ".hidden.png", 200)
    (folder / "cat" / "notes.txt").write_text("not an image")
    (folder / ".git").mkdir()
    found = folder_examples(folder)
    assert (found.names, found.inputs.shape) == (("cat", "dog"), (20, 4, 4, 1))
    greys = set(zip(found.inputs[:, 0, 0, 0].tolist(), found.labels.tolist(), strict=True))
    assert greys == {(n, 0) for n in range(10)} | {(100 + n, 1) for n in range(10)}
    assert found.cut == ("validation", "test")
    assert found.source == str(folder)


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_splits_are_the_folders_that_there_are(folder: Path, validation: str) -> None:
    save(folder / validation / "dog" / "v.png", 201)
    save(folder / "test" / "cat" / "t.png", 202)
    for label in ("cat", "dog"):
        (folder / "train").mkdir(exist_ok=True)
        (folder / label).rename(folder / "train" / label)
    found = folder_examples(folder)
    greys = {
        split: found.inputs[places].amax(dim=(1, 2, 3)).tolist() for split, places in found.splits.items()
    }
    assert greys["validation"] == [201]
    assert greys["test"] == [202]
    assert len(greys["train"]) == 20
    assert found.cut == ()
    for path in (folder / "test").rglob("*.png"):
        path.unlink()
    (folder / "test" / "cat").rmdir()
    save(folder / "test" / "bird" / "t.png")
    with pytest.raises(DataError, match=r"test/bird: no class of that name to train on: those are cat, dog"):
        folder_examples(folder)


def test_a_class_called_train(folder: Path) -> None:
    for number in range(3):
        save(folder / "train" / f"{number}.png")
    assert folder_examples(folder).names == ("cat", "dog", "train")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_colours_of_one_image_are_colours_of_all(folder: Path, mode: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    path = folder / "cat" / ("0.tif" if mode == "CMYK" else "0.png")
    image = Image.fromarray(colours).convert(mode)
    image.save(path)
    found = folder_examples(folder)
    assert found.inputs.shape[1:] == (4, 4, 3)
    expected = np.asarray(image.convert("RGB"))
    assert any(np.array_equal(one, expected) for one in found.inputs.numpy())
    dog = found.inputs[found.labels == 1]
    assert (dog == dog[..., :1]).all(), "grey stays grey"


def test_a_jpeg_and_a_length(folder: Path) -> None:
    save(folder / "dog" / "wide.jpg", 50, size=(40, 20))
    found = folder_examples(folder, length=8)
    assert found.inputs.shape == (21, 8, 8, 1)
    assert any((image.float() - 50).abs().max() <= 2 for image in found.inputs)


def _empty_class(folder: Path) -> Path:
    (folder / "bird").mkdir()
    (folder / "bird" / "notes.txt").write_text("x")
    return folder / "bird"


def _unreadable(folder: Path) -> Path:
    (folder / "cat" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder / "cat" / "3.png"


def _cut_short(folder: Path) -> Path:
    path = folder / "cat" / "3.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-30])
    return path


def _mixed(folder: Path) -> Path:
    save(folder / "dog" / "a.png", size=(5, 4))
    return folder / "dog" / "a.png"


def _deep_grey(folder: Path) -> Path:
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(folder / "cat" / "3.png")
    return folder / "cat" / "3.png"


def _too_few(folder: Path) -> Path:
    save(folder / "bird" / "a.png")
    return folder


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_empty_class, "no image in the folder of a class: put some there, or remove it"),
        (_unreadable, r"not an image that can be read \(.+\): mend it, or remove it"),
        (_cut_short, "not an image that can be read"),
        (_mixed, "5x4 pixels, and .*0.png has 4x4: give a length, the side in pixels"),
        (_deep_grey, r"more than 8 bits a pixel \(I;16\)"),
        (_too_few, "1 examples of class 'bird' to train on, and it needs 3"),
    ],
)
def test_a_folder_that_cannot_be_learnt(folder: Path, spoil: Callable[[Path], Path], said: str) -> None:
    named = spoil(folder)
    with pytest.raises(DataError, match=said) as caught:
        folder_examples(folder)
    assert str(caught.value).startswith(f"{named}: ")
    assert "\n" not in str(caught.value)


def test_a_place_that_is_no_folder_of_classes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, said in (
        (folder / "cat" / "0.png", "a file; images are a folder with a sub-folder for each class"),
        (folder / "absent", "no such folder; images are"),
        (folder / "cat", "no sub-folder, and each class needs one"),
        (folder / "dog", "only one sub-folder, 'deep'"),
    ):
        with pytest.raises(DataError, match=f"^{place}: {said}"):
            folder_examples(place)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)  # as root, permissions would not be checked
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        folder_examples(folder)


def test_without_pillow_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(SearchSpaceError, match=r"Pillow; install the extra: pip install 'dnas\[vision\]'"):
        folder_examples(folder)
