"""DatasetTask: a person's own data, loss and metric as a task."""

from __future__ import annotations

import hashlib
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate

from search_spaces.classification import divergence
from search_spaces.errors import DataError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from search_spaces.space import Batch, Split

    Measure = Callable[[Tensor, Tensor], Tensor]
    Metric = Callable[[Tensor, Tensor], Tensor | float]

_SINGLE = 16
"""Examples of one number each that stand for a text."""
_DIGESTED = 64
"""Examples of each split that the digest is of: a whole dataset may take hours to read."""


@runtime_checkable
class Dataset(Protocol):
    """What has a length and gives an example for each index: torch's map-style datasets, lists, arrays."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


class DatasetTask:
    """Examples `(input, target)` or `((input, ...), target)`, a loss and a metric of them.

    `train`, `validation` and `test` are datasets with `len()` and `[index]`, or loaders over such: of a
    loader, its dataset and how it collates are used, and not its order, because a search that is stopped and
    resumed has to draw the same batches. What a dataset draws by itself, as an augmentation from torch, numpy
    or random, is drawn from the run's seed, too.

    `loss(output, target)` is the scalar that training minimises, a mean over the batch;
    `metric(output, target)` what is known of the trained networks on test data, the loss unless given. It is
    called `metric_name`, and lower is better: of accuracies, the errors.

    `distillation(output, taught)` says how far an output is from a better network's, on the scale of the
    loss. Unless given, it is KL(taught ‖ output) where targets are the indices of classes, whose logits are
    the last dimension of outputs or, as in `torch.nn.functional.cross_entropy`, the second; else the mean
    squared difference.

    A batch has `batch_multiple` times the examples that presets count, which are texts. Unless given, it is
    16, so that presets train on batches of 64, where the target of an example is one number, and else 1.

    Raises DataError for a split that cannot be drawn from by index, is empty, or holds no such examples.
    """

    def __init__(
        self,
        train: Dataset | DataLoader[object],
        validation: Dataset | DataLoader[object],
        test: Dataset | DataLoader[object],
        *,
        loss: Measure,
        metric: Metric | None = None,
        metric_name: str = "loss",
        distillation: Measure | None = None,
        name: str = "own",
        batch_multiple: int | None = None,
    ) -> None:
        self.name, self.metric_name = name, metric_name
        self._loss, self._metric = loss, metric or loss
        self._distillation = distillation
        self._splits: dict[Split, _Examples] = {
            "train": _Examples("train", train),
            "validation": _Examples("validation", validation),
            "test": _Examples("test", test),
        }
        self.batch_multiple = batch_multiple or self._splits["train"].usual_multiple()

    def describe(self) -> dict[str, object]:
        """What the datasets are, their sizes, and a digest of some examples of each."""
        return {
            "source": ", ".join(dict.fromkeys(type(s.dataset).__name__ for s in self._splits.values())),
            "examples": {split: len(examples) for split, examples in self._splits.items()},
            "sha256": hashlib.sha256("".join(s.digest() for s in self._splits.values()).encode()).hexdigest(),
        }

    def sample(self, split: Split, size: int, generator: torch.Generator) -> Batch:
        """`size` examples, each drawn among all of the split."""
        examples = self._splits[split]
        drawn = torch.randint(len(examples), (size,), generator=generator)
        return examples.batch(drawn.tolist(), int(torch.randint(2**31, (), generator=generator)))

    def batches(self, split: Split, size: int, count: int) -> Iterator[Batch]:
        """Up to `count` batches of equal size, spread evenly; fewer, or smaller, where the split has less."""
        examples = self._splits[split]
        size = min(size, len(examples))
        taken = size * min(count, len(examples) // size)
        for start in range(0, taken, size):
            yield examples.batch(examples.spread(taken)[start : start + size], seed=start)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self._loss(output, target)

    def distillation(self, output: Tensor, taught: Tensor, target: Tensor) -> Tensor:
        if self._distillation:
            return self._distillation(output, taught.detach())
        classes = _class_dimension(output, target)
        if classes is None:
            return F.mse_loss(output, taught.detach())
        return divergence(output.movedim(classes, -1), taught.movedim(classes, -1), target)

    def metric(self, loss: float) -> float:
        """The loss itself: see `measure`."""
        return loss

    def measure(self, output: Tensor, target: Tensor) -> Tensor:
        """The metric of a batch, a scalar."""
        return torch.as_tensor(self._metric(output, target))


class _Examples:
    """One split."""

    def __init__(self, split: Split, given: object) -> None:
        self.split = split
        self.dataset, self.collate = _dataset(split, given)
        if not len(self):
            raise DataError(f"{split}: the dataset is empty")
        try:
            self.batch([0], seed=0)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{split}: its first example cannot be used: {first_line(error)}") from error

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int], seed: int) -> Batch:
        with _drawn_from(seed):
            collated = self.collate([self.dataset[index] for index in indices])
        match collated:
            case [Tensor() as x, Tensor() as target]:
                return (x,), target
            case [[*given], Tensor() as target]:
                inputs = tuple(x for x in given if isinstance(x, Tensor))
                if inputs and len(inputs) == len(given):
                    return inputs, target
        parts = collated if isinstance(collated, list | tuple) else ()
        kinds = f" of {', '.join(type(part).__name__ for part in parts)}" if parts else ""
        raise DataError(
            f"{self.split}: an example must be (input, target) or ((input, ...), target), and a batch is "
            f"a {type(collated).__name__}{kinds}: give a DataLoader whose collate_fn returns such a pair"
        )

    def usual_multiple(self) -> int:
        """A text poses a question at every token."""
        _, target = self.batch([0], seed=0)
        return _SINGLE if target.numel() == 1 else 1

    def spread(self, count: int) -> list[int]:
        """So many indices, from the first example to the last."""
        return [index * (len(self) - 1) // max(1, count - 1) for index in range(count)]

    def digest(self) -> str:
        whole = hashlib.sha256(str(len(self)).encode())
        for index in self.spread(min(_DIGESTED, len(self))):
            inputs, target = self.batch([index], seed=0)
            for tensor in (*inputs, target):
                whole.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
                whole.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
        return whole.hexdigest()


def _dataset(split: Split, given: object) -> tuple[Dataset, Callable[[list[object]], object]]:
    """What to draw from, and how examples become a batch."""
    loader = given if isinstance(given, DataLoader) else None
    dataset = given if loader is None else loader.dataset
    if dataset is None:
        raise DataError(f"{split}: there is no dataset: give one that has len() and [index], a list will do")
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Dataset):
        raise DataError(
            f"{split}: a {type(dataset).__name__} gives examples in an order of its own, which a search that "
            "is resumed could not repeat: give a dataset that has len() and [index], a list will do"
        )
    batched = loader is not None and loader.batch_size is not None
    return dataset, loader.collate_fn if loader is not None and batched else default_collate


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """Everything random comes from the seed; the generators go on afterwards as if nothing had been."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def _class_dimension(output: Tensor, target: Tensor) -> int | None:
    """Which dimension of outputs the classes are, of which targets are indices; None where they are none."""
    if target.is_floating_point() or target.is_complex():
        return None
    if output.shape[:-1] == target.shape:
        return -1
    return 1 if output.shape[:1] + output.shape[2:] == target.shape else None
