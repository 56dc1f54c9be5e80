"""LabelledText: classes from folders, splits that share no file, and one clear line for bad data."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch

from search_spaces import DataError, SearchSpaceError
from search_spaces.labelled_text import LabelledText

LENGTH = 8
SPLITS = ("train", "validation", "test")
FILES = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, one in upper case: every file is a hundred times a letter of its own."""
    folder = tmp_path / "letters"
    for label, first in (("lower", "a"), ("upper", "A")):
        (folder / label / "deep").mkdir(parents=True)
        for i in range(FILES):
            (folder / label / "deep" / f"{i}.txt").write_text(chr(ord(first) + i) * 100)
    return folder


def text_of(task: LabelledText, split: str, label: int) -> str:
    return bytes(task._data[split][label].tolist()).decode()


def test_classes_are_the_sub_folders_and_no_file_is_in_two_splits(folder: Path) -> None:
    task = LabelledText(folder, LENGTH)
    assert (task.name, task.labels, task.classes) == ("letters", ("lower", "upper"), 2)
    for label in range(2):
        letters = [set(text_of(task, split, label)) for split in SPLITS]
        assert [len(found) for found in letters] == [16, 2, 2]
        assert len(set.union(*letters)) == FILES
        assert all(letter.isupper() == bool(label) for letter in set.union(*letters))
    described = task.describe()
    assert described["classes"]["upper"] == {"train": 1600, "validation": 200, "test": 200}
    assert described["error_by_chance"] == 0.5
    assert json.loads(json.dumps(described)) == described


def test_three_files_are_one_for_each_split(folder: Path) -> None:
    for file in (folder / "upper" / "deep").glob("[3-9]*.txt"):
        file.unlink()
    for file in (folder / "upper" / "deep").glob("1?.txt"):
        file.unlink()
    task = LabelledText(folder, LENGTH)
    assert sorted("".join(sorted(set(text_of(task, split, 1)))) for split in SPLITS) == ["A", "B", "C"]


def test_samples_come_from_the_generator_alone_and_take_classes_equally_often(folder: Path) -> None:
    task = LabelledText(folder, LENGTH)
    draws = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        (tokens,), labels = task.sample("train", 400, torch.Generator().manual_seed(0))
        draws.append(tokens)
    assert torch.equal(*draws)
    assert tokens.dtype == labels.dtype == torch.int64
    assert (tokens.shape, labels.shape) == ((400, LENGTH), (400,))
    assert 160 < int(labels.sum()) < 240
    for row, label in zip(tokens.tolist(), labels.tolist(), strict=True):
        assert bytes(row).decode() in text_of(task, "train", label)
    assert len(set(tokens.flatten().tolist())) == 32, "pieces come from everywhere"


def test_fixed_batches_take_classes_in_turn_and_spread_over_them(folder: Path) -> None:
    task = LabelledText(folder, LENGTH)
    batches = list(task.batches("test", 5, 4))
    again = list(task.batches("test", 5, 4))
    assert all(torch.equal(a, b) for ((a,), _), ((b,), _) in zip(batches, again, strict=True))
    assert [len(labels) for _, labels in batches] == [5] * 4
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 1] * 10
    rows = torch.cat([tokens for (tokens,), _ in batches])
    for label in range(2):
        text, pieces = text_of(task, "test", label), [bytes(r).decode() for r in rows[label::2].tolist()]
        assert all(piece in text for piece in pieces)
        assert (pieces[0], pieces[-1]) == (text[:LENGTH], text[-LENGTH:])
        assert Counter(piece[0] for piece in pieces) == {text[0]: 5, text[-1]: 5}


def test_the_digest_tells_classes_and_contents_apart(folder: Path) -> None:
    def digest() -> object:
        return LabelledText(folder, LENGTH).describe()["sha256"]

    first = digest()
    assert digest() == first
    (folder / "upper").rename(folder / "zupper")
    renamed = digest()
    (folder / "lower" / "deep" / "0.txt").write_text("b" * 100)
    assert len({first, renamed, digest()}) == 3


def test_packages_of_the_standard_library_are_at_hand() -> None:
    task = LabelledText()
    assert 8 <= task.classes <= 16
    assert {"asyncio", "email", "encodings", "xml"} <= set(task.labels)
    assert "test" not in task.labels
    described = task.describe()
    assert described["source"].startswith("packages of the standard library of Python 3.")
    assert all(min(sizes.values()) >= task.length for sizes in described["classes"].values())
    _, labels = next(task.batches("train", task.classes, 1))
    assert labels.tolist() == list(range(task.classes))
    assert "asyncio" in text_of(task, "train", task.labels.index("asyncio"))


def test_pieces_of_any_length_that_the_library_has() -> None:
    assert LabelledText(length=4096).classes >= 8
    with pytest.raises(DataError, match=r"packages .* have pieces of 1000000 bytes .* a shorter length"):
        LabelledText(length=1_000_000)


def test_a_length_must_be_positive() -> None:
    with pytest.raises(SearchSpaceError, match="length 0"):
        LabelledText(length=0)


def _refused(folder: Path, message: str, named: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        LabelledText(folder, LENGTH)
    assert str(named) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_is_no_folder_of_classes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, empty, single = folder / "a file", folder.parent / "empty", folder.parent / "single"
    file.write_text("x" * 1000)
    empty.mkdir()
    (single / "only").mkdir(parents=True)
    (single / ".git").mkdir()
    _refused(folder / "nowhere", "no such folder; .* a sub-folder for each class", folder / "nowhere")
    _refused(file, "a file; labelled text is a folder", file)
    _refused(empty, "no sub-folder, and each class needs one", empty)
    _refused(single, "only one sub-folder, 'only', and each class needs one", single)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)  # as root, permissions would not be checked
    _refused(folder, "cannot be read: Permission denied", folder)


def test_a_class_that_cannot_be_learnt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    third = folder / "third"
    third.mkdir()
    _refused(folder, r"no text in the folder \(0 files", third)
    (third / "image.bin").write_bytes(b"\x89PNG\0")
    _refused(folder, r"no text in the folder \(1 files", third)
    (third / "a.txt").write_text("x" * 100)
    (third / "b.txt").write_text("x" * 100)
    _refused(folder, "2 text files, and a class needs 3", third)
    (third / "c.txt").write_text("x" * (LENGTH - 1))
    _refused(folder, f"only {LENGTH - 1} bytes in its .* a piece has {LENGTH}: give longer files", third)
    (third / "c.txt").write_text("x" * LENGTH)
    assert LabelledText(folder, LENGTH).labels == ("lower", "third", "upper")
    os.mkfifo(third / "pipe")  # reading it would wait for ever
    assert LabelledText(folder, LENGTH).classes == 3

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    _refused(folder, "cannot be read: Permission denied", folder)
