"""A task of a person's own data, against what is drawn and computed by hand."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, random_split

from search_spaces import DataError, DatasetTask
from search_spaces.space import CountsErrors, MeasuresOutputs, Task
from search_spaces.trial import as_task

if TYPE_CHECKING:
    from collections.abc import Iterator


def _numbered(count: int, first: int = 0) -> TensorDataset:
    """Example i is (i, i squared)."""
    numbers = torch.arange(first, first + count, dtype=torch.float32)[:, None]
    return TensorDataset(numbers, numbers**2)


def _task(train: Any = None, **other: Any) -> DatasetTask:
    parts = (train if train is not None else _numbered(50), _numbered(10, 50), _numbered(7, 60))
    return DatasetTask(*parts, **{"loss": F.mse_loss, **other})


def _draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_is_a_task() -> None:
    task = _task()
    assert isinstance(as_task(task), Task)
    assert isinstance(task, MeasuresOutputs)
    assert not isinstance(task, CountsErrors)


def test_examples_of_one_number_come_in_larger_batches() -> None:
    assert _task().batch_multiple == 16
    sequences = TensorDataset(torch.zeros(5, 8), torch.zeros(5, 8, dtype=torch.long))
    assert _task(sequences).batch_multiple == 1
    assert _task(batch_multiple=3).batch_multiple == 3


def test_a_metric_may_be_a_plain_number() -> None:
    measured = _task(metric=lambda output, target: float((output - target).abs().max()))
    assert measured.measure(torch.ones(2), torch.zeros(2)).item() == 1.0


@given(size=st.integers(1, 20), seed=st.integers(0, 9))
@settings(max_examples=15)
def test_samples_are_examples_of_the_split_drawn_by_the_generator_alone(size: int, seed: int) -> None:
    task = _task()
    (x,), target = task.sample("validation", size, _draws(seed))
    assert x.shape == target.shape == (size, 1)
    assert ((x >= 50) & (x < 60)).all()
    assert torch.equal(target, x**2)
    torch.rand(1)
    (again,), _ = task.sample("validation", size, _draws(seed))
    assert torch.equal(x, again)


@given(size=st.integers(1, 20), count=st.integers(1, 12), examples=st.integers(1, 60))
@settings(max_examples=15)
def test_fixed_batches_are_equal_sized_and_take_no_example_twice(
    size: int, count: int, examples: int
) -> None:
    task = DatasetTask(_numbered(3), _numbered(examples), _numbered(3), loss=F.mse_loss)
    batches = [x.flatten().tolist() for (x,), _ in task.batches("validation", size, count)]
    taken = [int(i) for batch in batches for i in batch]
    assert len({len(batch) for batch in batches}) == 1
    assert 1 <= len(batches) <= count
    assert len(set(taken)) == len(taken)
    assert taken == sorted(taken)
    assert taken[0] == 0
    if len(taken) > 1:
        assert taken[-1] == examples - 1
    assert batches == [x.flatten().tolist() for (x,), _ in task.batches("validation", size, count)]


def test_every_example_can_be_drawn() -> None:
    (x,), _ = _task().sample("train", 2000, _draws(0))
    assert len(set(x.flatten().tolist())) == 50


class _Noisy(Dataset[tuple[Tensor, float]]):
    """Draws from all three of the generators that people use."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[Tensor, float]:
        return torch.rand(2), random.random() + float(np.random.rand())


def test_augmentation_is_drawn_from_the_seed_too_and_no_generator_is_left_changed() -> None:
    task = DatasetTask(_Noisy(), _Noisy(), _Noisy(), loss=F.mse_loss)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    expected = torch.rand(3), random.random(), np.random.rand()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    drawn = [task.sample("train", 4, _draws(seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected[0])
    assert (random.random(), np.random.rand()) == expected[1:]
    (first,), target = drawn[0]
    assert torch.equal(first, drawn[1][0][0])
    assert torch.equal(target, drawn[1][1])
    assert not torch.equal(first, drawn[2][0][0])
    assert len(set(target.tolist())) == 4
    fixed = [[x.tolist() for (x,), _ in task.batches("test", 2, 2)] for _ in range(2)]
    assert fixed[0] == fixed[1]


def test_a_loader_gives_its_dataset_and_how_it_collates() -> None:
    def padded(examples: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
        longest = max(len(tokens) for tokens, _ in examples)
        rows = [[*tokens, *[0] * (longest - len(tokens))] for tokens, _ in examples]
        return torch.tensor(rows), torch.tensor([label for _, label in examples])

    texts = [([1] * (1 + i % 3), i % 2) for i in range(9)]
    task = DatasetTask(*[DataLoader(texts, batch_size=4, collate_fn=padded)] * 3, loss=F.cross_entropy)
    (x,), target = task.sample("train", 30, _draws(0))
    assert x.shape == (30, 3)
    assert target.dtype == torch.int64
    whole = DatasetTask(*[DataLoader(_numbered(4), batch_size=None)] * 3, loss=F.mse_loss)
    assert whole.sample("train", 6, _draws(0))[1].shape == (6, 1)


def test_a_list_split_at_random_and_several_inputs() -> None:
    examples = [((torch.full((2,), float(i)), torch.tensor(i)), i % 3) for i in range(10)]
    task = DatasetTask(*random_split(examples, [8, 1, 1], _draws(0)), loss=F.cross_entropy)  # type: ignore[arg-type]
    (x, number), target = task.sample("train", 5, _draws(1))
    assert torch.equal(x[:, 0].long(), number)
    assert torch.equal(target, number % 3)


def test_the_metric_is_the_persons_own_or_the_loss() -> None:
    output, target = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0])
    assert _task().measure(output, target) == 4.5
    assert _task(metric=F.l1_loss).measure(output, target) == 1.5
    assert _task(metric=F.l1_loss, metric_name="mean error").metric_name == "mean error"
    assert _task().metric(0.25) == 0.25


def test_distillation_is_a_divergence_of_classes_and_else_a_squared_difference() -> None:
    torch.manual_seed(0)
    output, taught = torch.randn(4, 3, 5), torch.randn(4, 3, 5)
    p, q = taught.softmax(-1), output.softmax(-1)
    task = _task()
    last = (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(task.distillation(output, taught, torch.zeros(4, 3).long()), last)
    p, q = taught.softmax(1), output.softmax(1)
    second = (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(task.distillation(output, taught, torch.zeros(4, 5).long()), second)
    squared = (output - taught).square().mean()
    torch.testing.assert_close(task.distillation(output, taught, torch.zeros(4, 3, 5)), squared)
    torch.testing.assert_close(task.distillation(output, taught, torch.zeros(4).long()), squared)
    own = _task(distillation=F.l1_loss).distillation(output, taught, torch.zeros(4, 3).long())
    torch.testing.assert_close(own, (output - taught).abs().mean())


def test_what_it_says_of_the_data() -> None:
    told = _task().describe()
    assert told["source"] == "TensorDataset"
    assert told["examples"] == {"train": 50, "validation": 10, "test": 7}
    assert told == _task().describe()
    assert told["sha256"] != _task(_numbered(50, 1)).describe()["sha256"]


class _Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter([torch.zeros(1)])


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (_Stream(), r"train: a _Stream gives examples in an order of its own.*len\(\) and \[index\]"),
        (DataLoader(_Stream()), "train: a _Stream gives examples"),
        ((x for x in ()), "train: a generator gives examples"),
        ([], "train: the dataset is empty"),
        ([torch.zeros(2)] * 3, r"must be \(input, target\).*a batch is a Tensor: give a DataLoader"),
        ([{"x": 1.0}] * 3, "a batch is a dict"),
        ([(1.0, "cat")] * 3, "a batch is a list of Tensor, (list|tuple)"),
        ([(object(), 1)] * 3, "its first example cannot be used: TypeError"),
        ({"a": 1}, "its first example cannot be used: KeyError"),
    ],
)
def test_data_that_cannot_be_drawn_from(train: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        _task(train)
    assert "\n" not in str(caught.value)
