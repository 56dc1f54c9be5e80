"""Examples: inputs with a class each, and which of them are for training, validation and test."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from search_spaces.errors import DataError
from search_spaces.space import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from search_spaces.space import Split


class Examples:
    """`inputs` (examples, ...) and `labels` (examples,), the number of each one's class, from 0.

    `given` holds the indices of the splits that the data comes in, "train" among them; without it, all are to
    train on. What validation and test lack is cut from train: of every class a tenth, at least one, drawn
    with `seed`, so that it is the same on every call. `names` are those of the classes, their numbers unless
    given; `source` is where the examples come from, and begins every error.

    Raises DataError for labels that are no whole numbers, as many as the inputs, from 0 without a gap; for
    labels of validation or test that train lacks; for fewer than two classes; for a class too small to cut.
    """

    def __init__(
        self,
        source: str,
        inputs: Tensor,
        labels: Tensor,
        given: Mapping[Split, Tensor] | None = None,
        names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        given = given or {"train": torch.arange(len(inputs))}
        _check_shape(source, inputs, labels)
        self.source, self.inputs, self.labels, self.seed = source, inputs, labels.long(), seed
        self.classes = _classes(source, self.labels, given)
        self.names = tuple(names or map(str, range(self.classes)))
        self.cut = tuple(split for split in SPLITS if split not in given)
        """The splits that the data does not come in."""
        self.splits = _cut(self, given)

    def draw(self, split: Split, size: int, generator: torch.Generator) -> Tensor:
        """The places of `size` examples of a split, each drawn among all of them."""
        return self.splits[split][torch.randint(len(self.splits[split]), (size,), generator=generator)]

    def spread(self, split: Split, size: int, count: int) -> Iterator[Tensor]:
        """The places of up to `count` batches, evenly over the split, no example twice.

        Fewer, or smaller, where the split has not so many.
        """
        among = self.splits[split]
        size = min(size, len(among))
        taken = size * min(count, len(among) // size)
        steps = torch.arange(taken) * (len(among) - 1) // max(1, taken - 1)
        yield from torch.split(among[steps], size)

    def describe(self) -> dict[str, object]:
        """Source, classes with their examples per split, the splits that were cut, and a digest of it all.

        `error_by_chance` is that of always naming the class that the test split has most of.
        """
        counts = {s: self.labels[i].bincount(minlength=self.classes) for s, i in self.splits.items()}
        return {
            "source": self.source,
            "examples": {split: len(places) for split, places in self.splits.items()},
            "classes": {
                name: {split: int(counts[split][label]) for split in SPLITS}
                for label, name in enumerate(self.names)
            },
            "cut_from_train": {"splits": list(self.cut), "seed": self.seed},
            "error_by_chance": 1 - int(counts["test"].max()) / len(self.splits["test"]),
            "sha256": self._digest(),
        }

    def _digest(self) -> str:
        whole = hashlib.sha256(repr((self.inputs.shape, self.inputs.dtype, self.names)).encode())
        for values in (self.inputs, self.labels, *(self.splits[split] for split in SPLITS)):
            whole.update(hashlib.sha256(values.contiguous().numpy().data).digest())
        return whole.hexdigest()


def joined(
    source: str, parts: Mapping[Split, tuple[Tensor, Tensor]], names: Sequence[str] | None = None
) -> Examples:
    """Of data that comes in splits: inputs and labels of each.

    Raises DataError as `Examples` does, and for inputs of one split that are not like those of another.
    """
    first, _ = parts["train"]
    given: dict[Split, Tensor] = {}
    for split, (inputs, labels) in parts.items():
        _check_shape(f"{source}, {split}", inputs, labels)
        if inputs.shape[1:] != first.shape[1:] or inputs.dtype != first.dtype:
            raise DataError(
                f"{source}: the {split} split is of shape {tuple(inputs.shape)}, {inputs.dtype}, and what is "
                f"to train on of {tuple(first.shape)}, {first.dtype}: bring them to one size and type"
            )
        start = sum(map(len, given.values()))
        given[split] = torch.arange(start, start + len(inputs))
    inputs, labels = (torch.cat(both) for both in zip(*parts.values(), strict=True))
    return Examples(source, inputs, labels, given, names)


def _check_shape(source: str, inputs: Tensor, labels: Tensor) -> None:
    if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
        raise DataError(
            f"{source}: labels of shape {tuple(labels.shape)} and type {labels.dtype}, and each example "
            "needs one whole number, the number of its class"
        )
    if len(inputs) != len(labels):
        raise DataError(f"{source}: {len(inputs)} examples and {len(labels)} labels: each example needs one")


def _classes(source: str, labels: Tensor, given: Mapping[Split, Tensor]) -> int:
    found = {split: sorted(set(labels[places].tolist())) for split, places in given.items()}
    for split, present in found.items():
        if not present:
            raise DataError(f"{source}: the {split} split has no example")
    train = found["train"]
    if train[0] < 0:
        raise DataError(f"{source}: label {train[0]}, and classes are counted from 0")
    missing = next((label for label, there in enumerate(train) if label != there), None)
    if missing is not None:
        raise DataError(
            f"{source}: labels go up to {train[-1]} and no example to train on has {missing}: number the "
            "classes from 0 without a gap"
        )
    if len(train) < 2:
        raise DataError(f"{source}: only one class: there is nothing to tell apart")
    for split, present in found.items():
        unknown = [label for label in present if not 0 <= label < len(train)]
        if unknown:
            raise DataError(
                f"{source}: label {unknown[0]} of the {split} split is out of range: those to train on are "
                f"0 to {len(train) - 1}"
            )
    return len(train)


def _cut(examples: Examples, given: Mapping[Split, Tensor]) -> dict[Split, Tensor]:
    """The splits given, and those cut from train, each in the order that the examples have."""
    draws = torch.Generator().manual_seed(examples.seed)
    parts: dict[Split, list[Tensor]] = {split: [] for split in ("train", *examples.cut)}
    for label, name in enumerate(examples.names):
        own = given["train"][examples.labels[given["train"]] == label]
        if len(own) <= len(examples.cut):
            raise DataError(
                f"{examples.source}: {len(own)} examples of class {name!r} to train on, and it needs "
                f"{len(examples.cut) + 1}: no example is in two of {', '.join(parts)}"
            )
        own, tenth = own[torch.randperm(len(own), generator=draws)], max(1, len(own) // 10)
        for split in examples.cut:
            parts[split].append(own[:tenth])
            own = own[tenth:]
        parts["train"].append(own)
    return {s: torch.cat(parts[s]).sort().values if s in parts else given[s] for s in SPLITS}
