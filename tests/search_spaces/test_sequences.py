"""LabelledSequences: tokens as they are in the arrays, and one clear line for those that cannot be."""

import json

import pytest
import torch

from search_spaces import DataError
from search_spaces.examples import Examples
from search_spaces.sequences import LabelledSequences

LABELS = torch.arange(40) % 2
TOKENS = torch.arange(200).reshape(40, 5)


def task(tokens: torch.Tensor = TOKENS, length: int | None = None) -> LabelledSequences:
    return LabelledSequences("mine", Examples("mine", tokens, LABELS), length)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_batches_are_rows_with_their_labels(dtype: torch.dtype) -> None:
    found = task(TOKENS.to(dtype), length=5)
    assert (found.length, found.classes, found.labels) == (5, 2, ("0", "1"))
    drawn = found.sample("train", 6, torch.Generator().manual_seed(0))
    for (tokens,), labels in (drawn, *found.batches("test", 2, 9)):
        assert tokens.dtype == labels.dtype == torch.int64
        for row, label in zip(tokens, labels, strict=True):
            place = int(row[0]) // 5
            assert torch.equal(row, TOKENS[place])
            assert label == LABELS[place]
    assert len(list(found.batches("test", 2, 9))) == 2
    described = found.describe()
    assert described["length"] == 5
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize(
    ("tokens", "length", "said"),
    [
        (TOKENS.float(), None, r"sequences of shape \(40, 5\) and type torch.float32, .* whole numbers"),
        (TOKENS[..., None], None, r"shape \(40, 5, 1\)"),
        (TOKENS[:, :0], None, r"shape \(40, 0\)"),
        (TOKENS - 1, None, "token -1 is out of range: tokens are 0 to 255"),
        (TOKENS + 57, None, "token 256 is out of range"),
        (TOKENS, 4, "sequences of 5 tokens, and a length of 4 was asked for"),
    ],
)
def test_sequences_that_cannot_be_used(tokens: torch.Tensor, length: int | None, said: str) -> None:
    with pytest.raises(DataError, match=f"^mine: .*{said}"):
        task(tokens, length)
