"""SyntheticTask: generated sequences, each of which asks for one skill that blocks have or lack.

In the manner of MAD (Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures",
arXiv:2403.17844, section 3): in-context recall, selective copying, compression and memorisation. An answer is
always determined, by the tokens before it or, in memorisation, by what was to be learnt: the smallest loss is
zero, and what keeps a network from it is its blocks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from search_spaces.classification import IGNORED, Classification
from search_spaces.errors import SearchSpaceError
from search_spaces.space import SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from search_spaces.space import Batch, Split

_SEEDS = 2**30
"""Batches that a split has: PyTorch's generator reads 32 bits of a seed, and three splits fit there."""
_MOST_TOKENS = 256


class SyntheticTask(Classification):
    """Tokens (batch, length), int64, and the answer at every place that is scored, IGNORED at all others.

    `kind` is one of KINDS, `vocabulary` how many tokens there are, its own number unless given. Every batch
    is generated from one seed, and no seed serves two splits: that of train, validation and test leaves 0, 1
    and 2 when divided by three. `seed` decides the fixed batches, and what is to be memorised.

    Raises SearchSpaceError for a kind that there is not, and for sizes that do not hold one answer.
    """

    metric_name = "bits per scored token"

    def __init__(self, kind: str, length: int = 512, vocabulary: int | None = None, seed: int = 0) -> None:
        if kind not in KINDS:
            raise SearchSpaceError(f"no generated task {kind!r}; the generated tasks are {', '.join(KINDS)}")
        self._kind = KINDS[kind]
        self.name, self.length, self.seed = kind, length, seed
        self.classes = self._kind.vocabulary if vocabulary is None else vocabulary
        if not self._kind.fewest <= self.classes <= _MOST_TOKENS:
            raise SearchSpaceError(
                f"{kind} needs {self._kind.fewest} to {_MOST_TOKENS} tokens, got vocabulary {self.classes}"
            )
        if length < (shortest := self._kind.shortest(self.classes)):
            raise SearchSpaceError(f"{kind} needs a length of {shortest} or more, got length {length}")

    def describe(self) -> dict[str, object]:
        """The generator, its parameters and seed; a digest of what it generates, one batch of each split."""
        digest = hashlib.sha256()
        for split in SPLITS:
            ((tokens,), targets) = next(self.batches(split, 8, 1))
            digest.update(tokens.numpy().tobytes() + targets.numpy().tobytes())
        return {
            "source": "generated, in the manner of MAD (arXiv:2403.17844)",
            "kind": self.name,
            "length": self.length,
            "vocabulary": self.classes,
            "seed": self.seed,
            "scored_share": float((targets != IGNORED).float().mean()),
            "sha256": digest.hexdigest(),
        }

    def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
        """`size` sequences and their answers, both (size, length)."""
        tokens, targets = self._kind.generate(self, size, _draws(split, generator))
        return (tokens,), targets

    def batches(self, split: Split, size: int, count: int) -> Iterator[Batch]:
        """`count` batches, by `seed`."""
        draws = torch.Generator().manual_seed(self.seed)
        return (self.sample(split, size, draws) for _ in range(count))


def _draws(split: Split, generator: torch.Generator) -> torch.Generator:
    """Of one batch: the seed is drawn, and the split is in it."""
    drawn = int(torch.randint(_SEEDS, (), generator=generator))
    return torch.Generator().manual_seed(len(SPLITS) * drawn + SPLITS.index(split))


def _recall(task: SyntheticTask, size: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Key, value, key, value, ...: a key that was there before asks for its value.

    Half of the vocabulary are keys; which value a key has is drawn anew for every sequence. Every sequence
    asks at least once: its last key was there before.
    """
    pairs, kinds = (task.length + 1) // 2, task.classes // 2
    keys = torch.randint(kinds, (size, pairs), generator=draws)
    keys[:, -1:] = keys.gather(1, torch.randint(pairs - 1, (size, 1), generator=draws))
    values = torch.randint(kinds, task.classes, (size, kinds), generator=draws).gather(1, keys)
    places = torch.arange(pairs).expand_as(keys)
    first = places.new_full((size, kinds), pairs).scatter_reduce(1, keys, places, "amin").gather(1, keys)
    answers = torch.where(first < places, values, IGNORED)
    nothing = torch.full_like(keys, IGNORED)
    return _alternating(keys, values, task.length), _alternating(answers, nothing, task.length)


def _copying(task: SyntheticTask, size: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Symbols scattered among blanks, a marker, then blanks: each of these asks for one symbol, in order.

    One token in sixteen is a symbol. The last two tokens of the vocabulary are the blank and the marker.
    """
    copied, blank = max(1, task.length // 16), task.classes - 2
    before = task.length - copied - 1
    symbols = torch.randint(blank, (size, copied), generator=draws)
    places = torch.rand(size, before, generator=draws).argsort(dim=1)[:, :copied].sort(dim=1).values
    tokens = torch.full((size, task.length), blank).scatter(1, places, symbols)
    tokens[:, before] = blank + 1
    answers = torch.full_like(tokens, IGNORED)
    answers[:, before + 1 :] = symbols
    return tokens, answers


def _compression(task: SyntheticTask, size: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bits, a marker, bits, a marker, ...: a marker asks for the bits since the one before, as one token.

    They are the digits of its number, the first the highest: as many as the vocabulary has numbers for. MAD
    has a decoder read many tokens out of one place; a language model answers with one token at that place,
    which therefore names the whole block.
    """
    bits = task.classes.bit_length() - 1
    blocks = -(-task.length // (bits + 1))
    digits = torch.randint(2, (size, blocks, bits), generator=draws)
    numbers = (digits << torch.arange(bits - 1, -1, -1)).sum(dim=-1, keepdim=True)
    tokens = torch.cat((digits, torch.full_like(numbers, 2)), dim=-1)
    answers = torch.cat((torch.full_like(digits, IGNORED), numbers), dim=-1)
    return tokens.flatten(1)[:, : task.length], answers.flatten(1)[:, : task.length]


def _memorisation(task: SyntheticTask, size: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Key, question, key, question, ...: a question asks for the value of the key before it.

    Which value a key has is decided by the task's seed, once and for all splits. The last token of the
    vocabulary is the question; of the others, half are keys.
    """
    question = task.classes - 1
    kinds = question // 2
    value_of = kinds + torch.randperm(kinds, generator=torch.Generator().manual_seed(task.seed))
    keys = torch.randint(kinds, (size, (task.length + 1) // 2), generator=draws)
    questions, nothing = torch.full_like(keys, question), torch.full_like(keys, IGNORED)
    return _alternating(keys, questions, task.length), _alternating(nothing, value_of[keys], task.length)


def _alternating(even: Tensor, odd: Tensor, length: int) -> Tensor:
    """even[0], odd[0], even[1], ... of each sequence: (size, half) twice -> (size, length)."""
    return torch.stack((even, odd), dim=-1).flatten(1)[:, :length]


@dataclass(frozen=True)
class Kind:
    """How sequences are generated, the vocabulary they have by default, and the smallest sizes.

    Vocabularies are those of MAD's baseline, but for compression.
    """

    generate: Callable[[SyntheticTask, int, torch.Generator], tuple[Tensor, Tensor]]
    vocabulary: int
    fewest: int
    """Tokens of which there is something to answer."""
    shortest: Callable[[int], int]
    """Length that holds an answer, by the vocabulary."""


KINDS: Mapping[str, Kind] = {
    "recall": Kind(_recall, vocabulary=16, fewest=4, shortest=lambda vocabulary: 3),
    "copying": Kind(_copying, vocabulary=16, fewest=4, shortest=lambda vocabulary: 3),
    "compression": Kind(_compression, vocabulary=128, fewest=4, shortest=int.bit_length),
    "memorisation": Kind(_memorisation, vocabulary=256, fewest=5, shortest=lambda vocabulary: 2),
}
