"""ByteText: splits that share nothing, windows that shift by one, and one clear line for bad data."""

import json
import math
import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from search_spaces import ByteText, DataError, SearchSpaceError

LENGTH = 8
SPLITS = ("train", "validation", "test")


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A file of 1000 bytes in which every position can be told from its first three bytes."""
    path = tmp_path / "numbers.txt"
    path.write_text("".join(f"{i:04d}" for i in range(250)))
    return path


def text_of(task: ByteText, split: str) -> str:
    return bytes(task._data[split].tolist()).decode()


def test_one_file_is_cut_into_three_ranges(numbers: Path) -> None:
    task = ByteText(numbers, LENGTH)
    assert "".join(text_of(task, split) for split in SPLITS) == numbers.read_text()
    assert task.describe()["bytes"] == {"train": 800, "validation": 100, "test": 100}
    assert task.name == "numbers.txt"


def test_few_files_are_cut_each_and_many_are_dealt_whole(tmp_path: Path) -> None:
    for count in (3, 20):
        folder = tmp_path / str(count)
        (folder / "deep").mkdir(parents=True)
        for i in range(count):
            (folder / "deep" / f"{i}.txt").write_text(chr(65 + i) * 100)
        task = ByteText(folder, LENGTH)
        letters = {split: set(text_of(task, split)) for split in SPLITS}
        assert task.describe()["files"] == count
        if count == 3:
            assert all(found == set("ABC") for found in letters.values())
        else:
            assert [len(letters[split]) for split in SPLITS] == [16, 2, 2]
            assert len(set.union(*letters.values())) == 20


def test_the_same_data_has_the_same_digest_and_other_data_another(numbers: Path) -> None:
    first, again = ByteText(numbers, LENGTH).describe(), ByteText(numbers, LENGTH).describe()
    numbers.write_text(numbers.read_text().replace("0249", "0250"))
    assert first == again
    assert ByteText(numbers, LENGTH).describe()["sha256"] != first["sha256"]
    assert json.loads(json.dumps(first)) == first


def test_binary_and_hidden_files_are_left_out_of_a_folder(numbers: Path) -> None:
    folder = numbers.parent
    (folder / "image.bin").write_bytes(b"\x89PNG\0")
    (folder / "latin.txt").write_bytes("é".encode("latin-1"))
    (folder / "empty.txt").write_text("")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x" * 1000)
    described = ByteText(folder, LENGTH).describe()
    assert (described["files"], described["skipped_files"]) == (1, 3)


def test_samples_come_from_the_generator_alone(numbers: Path) -> None:
    task = ByteText(numbers, LENGTH)
    draws = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        (tokens,), targets = task.sample("train", 64, torch.Generator().manual_seed(0))
        draws.append(tokens)
    assert torch.equal(*draws)
    assert tokens.dtype == targets.dtype == torch.int64
    assert tokens.shape == targets.shape == (64, LENGTH)
    assert torch.equal(tokens[:, 1:], targets[:, :-1])
    text = text_of(task, "train")
    assert all(bytes([*row, last]).decode() in text for row, last in zip(tokens, targets[:, -1], strict=True))


def test_a_split_of_exactly_one_sequence_can_be_sampled(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("x" * 71 + "abcdefghi" + "jklmnopqr")  # 89 bytes: 71, 9 and 9
    task = ByteText(path, LENGTH)
    (tokens,), targets = task.sample("test", 2, torch.Generator())
    assert bytes(tokens[0].tolist()) + bytes(targets[0, -1:].tolist()) == b"jklmnopqr"
    ((only,),) = [inputs for inputs, _ in task.batches("test", 4, 3)]
    assert only.shape == (1, LENGTH)


def test_fixed_batches_spread_over_the_split_and_do_not_overlap(numbers: Path) -> None:
    task = ByteText(numbers, LENGTH)
    twice = [torch.cat([tokens for (tokens,), _ in task.batches("train", 5, 4)]) for _ in range(2)]
    assert torch.equal(*twice)
    text = text_of(task, "train")
    starts = [text.index(bytes(row.tolist()).decode()) for row in twice[0]]
    assert len(starts) == 20
    assert starts[0] == 0
    assert starts[-1] == 800 - LENGTH - 1
    assert all(later - earlier >= LENGTH for earlier, later in pairwise(starts))
    sizes = [len(targets) for _, targets in task.batches("validation", 5, 100)]
    assert sizes == [5, 5]  # (100 - 1) // 8 = 12 windows fit without overlap: two whole batches


def test_losses(numbers: Path) -> None:
    task = ByteText(numbers, LENGTH)
    torch.manual_seed(0)
    output, taught, target = torch.randn(2, 3, 256), torch.randn(2, 3, 256), torch.randint(256, (2, 3))
    probability = output.softmax(-1).gather(-1, target[..., None])
    torch.testing.assert_close(task.loss(output, target), -probability.log().mean())
    p, q = taught.softmax(-1), output.softmax(-1)
    torch.testing.assert_close(task.distillation(output, taught, target), (p * (p / q).log()).sum(-1).mean())
    assert float(task.distillation(taught, taught, target)) == pytest.approx(0, abs=1e-6)
    uniform = F.one_hot(target, 256) * 0.0
    assert task.metric(float(task.loss(uniform, target))) == pytest.approx(8)
    assert task.metric(math.log(2)) == pytest.approx(1)


def test_the_standard_library_is_at_hand() -> None:
    described = ByteText().describe()
    sizes = described["bytes"]
    assert described["source"].startswith("standard library of Python 3.")
    assert min(sizes.values()) > 100_000
    assert sizes["train"] / sum(sizes.values()) == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"ab\0c" * 100, "not UTF-8 text"),
        (b"\xff\xfe" * 100, "not UTF-8 text"),
        (b"a", "only 0 bytes for the train split .* needs 9: give some 90 bytes"),
        (b"a" * 80, "only 8 bytes for the validation split .* needs 9: give some 90 bytes"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        ByteText(path, LENGTH)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        ByteText(tmp_path / "nowhere", LENGTH)
    with pytest.raises(DataError, match=r"no text in the folder \(0 files"):
        ByteText(tmp_path, LENGTH)
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    with pytest.raises(DataError, match="pipe: no such file or folder"):
        ByteText(tmp_path / "pipe", LENGTH)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "secret.txt").write_text("x" * 1000)
    monkeypatch.setattr(Path, "read_bytes", refuse)  # as root, permissions would not be checked
    for place in (tmp_path, tmp_path / "secret.txt"):
        with pytest.raises(DataError, match=r"secret\.txt: cannot be read: Permission denied"):
            ByteText(place, LENGTH)


def test_a_length_must_be_positive() -> None:
    with pytest.raises(SearchSpaceError, match="length 0"):
        ByteText(length=0)
