"""A network of your own: two of its layers become choices, and a limit on latency decides what they are.

`python examples/own_network.py`, or `nas search own_network:build_space --batch 64` in this folder.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset, random_split

import nas
from hw_cost_models import Workload
from search_spaces import Choice, DatasetTask, SearchSpace


def convolution(size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(32, 32, size, padding=size // 2), nn.ReLU())


class Network(nn.Module):
    """Images (batch, 1, 8, 8) to logits (batch, 10): as you would write it, but for the two choices."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU())
        self.look = Choice({"1x1": convolution(1), "3x3": convolution(3), "5x5": convolution(5)})
        self.look_again = Choice({"skip": nn.Identity(), "3x3": convolution(3), "7x7": convolution(7)})
        self.head = nn.Linear(32 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.look_again(self.look(self.stem(x)))
        return self.head(nn.functional.max_pool2d(x, 4).flatten(1))


def errors(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(dim=1) != target).float().mean()


def build_space() -> tuple[SearchSpace, DatasetTask]:
    """The space with inputs to time it on, and what it is to learn."""
    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    examples = TensorDataset(images, torch.from_numpy(digits.target))
    parts = random_split(examples, (0.8, 0.1, 0.1), torch.Generator().manual_seed(0))
    space = SearchSpace("digits", Network(), lambda batch, length: (torch.zeros(batch, 1, 8, 8),))
    task = DatasetTask(*parts, loss=cross_entropy, metric=errors, metric_name="errors", batch_multiple=16)
    return space, task


if __name__ == "__main__":
    space, task = build_space()
    budget, workload = nas.Budget(latency_ms=3), Workload(batch=64)
    result = nas.search(space, task, "runs/own", budget=budget, workload=workload, preset="quick")
    print(result.verdict, dict(result.architecture), f"{result.summary['quality']['test_metric']:.1%} errors")
    print(result.onnx)
