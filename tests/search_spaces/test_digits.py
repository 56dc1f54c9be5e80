"""Digits: what scikit-learn carries, in three splits."""

import sys

import pytest
import torch
from sklearn.datasets import load_digits

from search_spaces import SearchSpaceError
from search_spaces.digits import digits


def test_digits_are_those_of_scikit_learn() -> None:
    task, theirs = digits(), load_digits()
    assert (task.name, task.classes, task.channels, task.length) == ("digits", 10, 1, 8)
    described = task.describe()
    assert described["examples"] == {"train": 1445, "validation": 176, "test": 176}
    assert described["augmentation"] == {"border": 1 / 14, "mirror": False}
    known = {
        tuple(image.flatten().tolist()): label
        for image, label in zip(theirs.images, theirs.target, strict=True)
    }
    mean, deviation = described["mean"][0], described["standard_deviation"][0]
    for (images,), labels in task.batches("test", 16, 100):
        pixels = (images * deviation + mean).round().flatten(1)
        for row, label in zip(pixels.tolist(), labels.tolist(), strict=True):
            assert known[tuple(row)] == label


def test_digits_of_another_length() -> None:
    (images,), _ = digits(28).sample("train", 2, torch.Generator().manual_seed(0))
    assert images.shape == (2, 1, 28, 28)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SearchSpaceError, match=r"scikit-learn: pip install 'dnas\[vision\]'"):
        digits()
