"""SyntheticTask: what is asked is determined, by the tokens before it or by the seed, and by nothing else."""

import json
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search_spaces import Architecture, Mixture, SearchSpaceError, bind, hybrid_lm
from search_spaces.classification import IGNORED
from search_spaces.synthetic import KINDS, SyntheticTask, _draws

SPLITS = ("train", "validation", "test")
every_kind = pytest.mark.parametrize("kind", KINDS)
sizes = given(
    length=st.integers(9, 130),
    vocabulary=st.integers(5, 256),
    seed=st.integers(0, 2**31),
    split=st.sampled_from(SPLITS),
)


def generated(task: SyntheticTask, split: str, seed: int) -> list[tuple[list[int], list[int]]]:
    (tokens,), answers = task.sample(split, 3, torch.Generator().manual_seed(seed))
    assert tokens.dtype == answers.dtype == torch.int64
    assert tokens.shape == answers.shape == (3, task.length)
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < task.classes
    assert all(0 <= answer < task.classes for answer in answers[answers != IGNORED].tolist())
    return list(zip(tokens.tolist(), answers.tolist(), strict=True))


def asked(answers: list[int]) -> list[int]:
    return [place for place, answer in enumerate(answers) if answer != IGNORED]


@settings(max_examples=15, deadline=None)
@sizes
def test_recall_asks_for_the_values_of_keys_that_were_there_before(
    length: int, vocabulary: int, seed: int, split: str
) -> None:
    for tokens, answers in generated(SyntheticTask("recall", length, vocabulary), split, seed):
        known: dict[int, int] = {}
        expected = []
        for place in range(0, length, 2):
            key, value = tokens[place], tokens[place + 1] if place + 1 < length else None
            expected.append(known.get(key, IGNORED))
            expected.append(IGNORED)
            assert key < vocabulary // 2
            assert value is None or value == known.setdefault(key, value) >= vocabulary // 2
        assert answers == expected[:length]
        assert asked(answers)[-1] == (length - 1) // 2 * 2, "the last key was there before"


@settings(max_examples=15, deadline=None)
@sizes
def test_copying_asks_for_the_symbols_in_order(length: int, vocabulary: int, seed: int, split: str) -> None:
    blank, marker, copied = vocabulary - 2, vocabulary - 1, max(1, length // 16)
    for tokens, answers in generated(SyntheticTask("copying", length, vocabulary), split, seed):
        before, after = tokens[: tokens.index(marker)], tokens[tokens.index(marker) + 1 :]
        assert after == [blank] * copied
        assert asked(answers) == list(range(length - copied, length))
        assert answers[-copied:] == [token for token in before if token != blank]


@settings(max_examples=15, deadline=None)
@sizes
def test_compression_asks_for_the_number_of_the_bits_since_the_last_marker(
    length: int, vocabulary: int, seed: int, split: str
) -> None:
    bits = int(math.log2(vocabulary))
    for tokens, answers in generated(SyntheticTask("compression", length, vocabulary), split, seed):
        markers = [place for place, token in enumerate(tokens) if token == 2]
        assert markers == asked(answers) == list(range(bits, length, bits + 1))
        for last, marker in pairwise([-1, *markers]):
            assert answers[marker] == int("".join(map(str, tokens[last + 1 : marker])), base=2)


def test_memorisation_asks_for_what_the_seed_decides_in_all_splits() -> None:
    values: dict[int, dict[int, int]] = {0: {}, 1: {}}
    for seed, known in values.items():
        task = SyntheticTask("memorisation", 33, vocabulary=20, seed=seed)
        for split in SPLITS:
            for number in range(20):
                for tokens, answers in generated(task, split, number):
                    assert tokens[1::2] == [19] * 16
                    assert answers[::2] == [IGNORED] * 17
                    for key, value in zip(tokens[0:32:2], answers[1::2], strict=True):
                        assert known.setdefault(key, value) == value
        assert sorted(known) == list(range(9))
        assert sorted(known.values()) == list(range(9, 18))
    assert values[0] != values[1]


@every_kind
def test_samples_come_from_the_generator_alone(kind: str) -> None:
    task = SyntheticTask(kind, 64)
    samples: list[Tensor] = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        ((tokens,), _) = task.sample("train", 4, torch.Generator().manual_seed(0))
        samples.append(tokens)
    assert torch.equal(*samples)


@settings(max_examples=15)
@given(st.integers(0, 2**31))
def test_no_seed_serves_two_splits(seed: int) -> None:
    """PyTorch's generator would take seeds that are equal in their lowest 32 bits for the same."""
    for remainder, split in enumerate(SPLITS):
        found = _draws(split, torch.Generator().manual_seed(seed)).initial_seed()
        assert found % 3 == remainder
        assert found < 2**32


@every_kind
def test_fixed_batches(kind: str) -> None:
    task = SyntheticTask(kind, 64)
    for split in SPLITS:
        twice = [torch.cat([tokens for (tokens,), _ in task.batches(split, 4, 3)]) for _ in range(2)]
        assert torch.equal(*twice)
        assert twice[0].shape == (12, 64)
        assert len({tuple(row) for row in twice[0].tolist()}) == 12
    other = next(SyntheticTask(kind, 64, seed=1).batches("test", 4, 1))[0][0]
    assert not torch.equal(twice[0][:4], other)


@every_kind
def test_description(kind: str) -> None:
    described = SyntheticTask(kind).describe()
    assert (described["kind"], described["length"], described["seed"]) == (kind, 512, 0)
    assert json.loads(json.dumps(described)) == described == SyntheticTask(kind).describe()
    assert SyntheticTask(kind, seed=1).describe()["sha256"] != described["sha256"]
    assert 0 < described["scored_share"] <= 0.5


@every_kind
def test_the_shortest_sequences_ask_once(kind: str) -> None:
    shortest = KINDS[kind].shortest(KINDS[kind].vocabulary)
    task = SyntheticTask(kind, shortest)
    for number in range(20):
        assert all(len(asked(answers)) == 1 for _, answers in generated(task, "train", number))
    with pytest.raises(SearchSpaceError, match=f"{kind} needs a length of {shortest} .* got length"):
        SyntheticTask(kind, shortest - 1)


@every_kind
def test_sizes_that_do_not_fit(kind: str) -> None:
    for vocabulary in (KINDS[kind].fewest - 1, 257):
        with pytest.raises(SearchSpaceError, match=f"{kind} needs .* got vocabulary {vocabulary}"):
            SyntheticTask(kind, 64, vocabulary)
    generated(SyntheticTask(kind, 64, KINDS[kind].fewest), "train", 0)


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(SearchSpaceError, match="'sorting'; the generated tasks are recall, copying"):
        SyntheticTask("sorting")


def test_hybrid_lm_learns_from_what_is_scored_alone() -> None:
    task, space = SyntheticTask("recall", 33), hybrid_lm(layers=1)
    path = Mixture.of(Architecture({"layers.0.mixer": "attention", "layers.0.feedforward": "swiglu_1x"}))
    inputs, answers = task.sample("train", 2, torch.Generator().manual_seed(0))
    logits = bind(space.network, path)(*inputs)
    assert task.metric(task.loss(logits, answers).item()) == pytest.approx(8, rel=0.05)  # of 256 tokens
    (gradient,) = torch.autograd.grad(task.loss(logits, answers), logits)
    assert torch.equal(gradient.abs().sum(-1) > 0, answers != IGNORED)
