"""Examples: splits that are disjoint and the same every time; one clear line for labels that are wrong."""

import json
from collections import Counter
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import DataError
from search_spaces.examples import Examples, joined
from search_spaces.space import SPLITS


def numbered(labels: list[int], **more: object) -> Examples:
    """Every input is its own place."""
    return Examples("mine", torch.arange(len(labels)), torch.tensor(labels), **more)


@settings(max_examples=15)
@given(st.lists(st.integers(3, 45), min_size=2, max_size=5), st.integers(0, 99))
def test_of_every_class_a_tenth_is_cut_for_validation_and_test(sizes: list[int], seed: int) -> None:
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).tolist()
    labels = [labels[place] for place in order]
    found = numbered(labels, seed=seed)
    places = {split: found.splits[split].tolist() for split in SPLITS}
    assert sorted(chain(*places.values())) == list(range(len(labels)))
    for split in ("test", "validation"):
        counts = Counter(labels[place] for place in places[split])
        assert counts == {label: max(1, size // 10) for label, size in enumerate(sizes)}
    again = numbered(labels, seed=seed)
    assert all(torch.equal(found.splits[split], again.splits[split]) for split in SPLITS)


def test_another_seed_cuts_elsewhere() -> None:
    labels = [0, 1] * 50
    cuts = [numbered(labels, seed=seed).splits["test"].tolist() for seed in (0, 1)]
    assert cuts[0] != cuts[1]
    assert numbered(labels, seed=1).describe()["sha256"] != numbered(labels).describe()["sha256"]


def test_splits_that_are_given_stay_and_only_the_others_are_cut() -> None:
    parts = {
        "train": (torch.arange(20), torch.arange(20) % 2),
        "test": (torch.arange(20, 25), torch.tensor([0, 0, 0, 0, 1])),
    }
    found = joined("mine", parts, ("even", "odd"))
    assert found.splits["test"].tolist() == [20, 21, 22, 23, 24]
    assert (len(found.splits["train"]), len(found.splits["validation"])) == (18, 2)
    described = found.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["examples"] == {"train": 18, "validation": 2, "test": 5}
    assert described["classes"]["odd"] == {"train": 9, "validation": 1, "test": 1}
    assert described["cut_from_train"] == {"splits": ["validation"], "seed": 0}
    assert described["error_by_chance"] == pytest.approx(1 / 5)


def test_draws_come_from_the_generator_alone_and_from_the_whole_split() -> None:
    found, draws = numbered([0, 1] * 50), []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        draws.append(found.draw("validation", 200, torch.Generator().manual_seed(0)).tolist())
    assert draws[0] == draws[1]
    assert set(draws[0]) == set(found.splits["validation"].tolist())


@settings(max_examples=15)
@given(st.integers(1, 40), st.integers(1, 8))
def test_batches_are_of_one_size_without_repetition_and_over_all_of_the_split(size: int, count: int) -> None:
    found = numbered([0, 1] * 60, given={"train": torch.arange(90), "test": torch.arange(90, 120)})
    batches = [batch.tolist() for batch in found.spread("test", size, count)]
    taken = list(chain(*batches))
    assert len(set(taken)) == len(taken)
    assert {len(batch) for batch in batches} == {min(size, 30)}
    assert len(batches) == max(1, min(count, 30 // size))
    assert len(taken) == 1 or (taken[0], taken[-1]) == (90, 119)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 2.5], r"labels of shape \(3,\) and type torch.float32, .* one whole number"),
        ([[0], [1], [1]], r"labels of shape \(3, 1\)"),
        ([0, 1], "3 examples and 2 labels"),
        ([0, -1, 1], "label -1, and classes are counted from 0"),
        ([0, 1, 3], "labels go up to 3 and no example to train on has 2"),
        ([1, 2, 2], "labels go up to 2 and no example to train on has 0"),
        ([0, 0, 0], "only one class"),
        ([0, 0, 1], "2 examples of class '0' to train on, and it needs 3: .* train, validation, test"),
    ],
)
def test_labels_that_are_wrong(labels: list[object], said: str) -> None:
    with pytest.raises(DataError, match=f"^mine: .*{said}") as caught:
        Examples("mine", torch.arange(3), torch.tensor(labels))
    assert "\n" not in str(caught.value)


def test_splits_that_do_not_fit_each_other() -> None:
    train = torch.zeros(6, 4), torch.tensor([0, 1] * 3)
    for test, said in (
        ((torch.zeros(1, 4), torch.tensor([2])), "label 2 of the test split is out of range: .* 0 to 1"),
        ((torch.zeros(1, 5), torch.tensor([0])), r"the test split is of shape \(1, 5\).* of \(6, 4\)"),
        ((torch.zeros(2, 4), torch.tensor([0])), "mine, test: 2 examples and 1 labels"),
        ((torch.zeros(0, 4), torch.tensor([], dtype=torch.int64)), "the test split has no example"),
    ):
        with pytest.raises(DataError, match=said):
            joined("mine", {"train": train, "test": test})


def test_the_digest_tells_inputs_labels_and_names_apart() -> None:
    def digest(inputs: torch.Tensor, labels: list[int], names: tuple[str, ...] | None = None) -> object:
        return Examples("mine", inputs, torch.tensor(labels), names=names).describe()["sha256"]

    labels, inputs = [0, 1] * 3, torch.arange(6)
    first = digest(inputs, labels)
    assert digest(inputs, labels) == first
    others = (
        digest(inputs + 1, labels),
        digest(inputs.int(), labels),
        digest(inputs, [1, 0] * 3),
        digest(inputs, labels, ("a", "b")),
    )
    assert len({first, *others}) == 5
