"""The parts of a training step against a step with data, against autograd's hooks and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from hw_cost_models.errors import HardwareCostError
from hw_cost_models.training_memory import MakeOptimizer, training_memory

_FLOAT = 4


def _mlp(depth: int = 3, width: int = 32) -> nn.Sequential:
    return nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(depth)))


def test_saved_is_what_autograd_saves() -> None:
    module, x = _mlp(), torch.randn(20, 32)
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and storage.data_ptr() != x.untyped_storage().data_ptr():
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = module(x).square().mean()
    assert training_memory(module, (x,)).saved_bytes == sum(saved.values()) + loss.nbytes


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), 0),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 1),
        (torch.optim.Adam, 2),
        (torch.optim.AdamW, 2),
    ],
)
def test_state_of_the_optimiser(optimizer: MakeOptimizer, copies: int) -> None:
    module = _mlp()
    memory = training_memory(module, (torch.randn(2, 32),), optimizer=optimizer)
    counters = len(list(module.parameters())) * _FLOAT if copies == 2 else 0
    assert memory.optimizer_bytes == copies * memory.weight_bytes + counters
    assert memory.gradient_bytes == memory.weight_bytes == 3 * (32 * 32 + 32) * _FLOAT


def test_what_is_frozen_has_no_gradient() -> None:
    module = _mlp()
    module[0].requires_grad_(False)
    memory = training_memory(module, (torch.randn(2, 32),))
    assert memory.gradient_bytes == 2 * (32 * 32 + 32) * _FLOAT


def test_checkpointing_keeps_the_inputs_of_blocks() -> None:
    module, x = _mlp(depth=6), torch.randn(400, 32)
    names = [str(index) for index in range(6)]
    whole, checkpointed = training_memory(module, (x,)), training_memory(module, (x,), checkpointed=names)
    one = x.nbytes
    scalar = _FLOAT
    assert whole.saved_bytes == (6 + 6) * one + scalar, "before and after every GELU"
    assert checkpointed.saved_bytes == 6 * one + scalar, "after every block"
    assert checkpointed.peak_bytes < whole.peak_bytes - 3 * one
    assert checkpointed.gradient_bytes == whole.gradient_bytes


def test_with_and_without_data_agree() -> None:
    class Routed(nn.Module):
        """A shape that depends on data, but not on which."""

        def __init__(self, data: bool) -> None:
            super().__init__()
            self.data = data
            self.body = _mlp()

        def forward(self, x: Tensor) -> Tensor:
            if self.data:
                (torch.ones(3).nonzero() + 1).sum()
            out: Tensor = self.body(x)
            return out

    torch.manual_seed(0)
    x = torch.randn(50, 32)
    assert training_memory(Routed(True), (x,)) == training_memory(Routed(False), (x,))


def test_peak_of_a_language_model_is_at_its_logits() -> None:
    vocabulary, tokens = 500, torch.zeros(4, 16, dtype=torch.long)
    module = nn.Sequential(nn.Embedding(vocabulary, 8), nn.Linear(8, vocabulary))
    memory = training_memory(
        module,
        (tokens,),
        loss=lambda logits: F.cross_entropy(logits.flatten(0, 1), tokens.flatten()),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
    )
    logits = tokens.numel() * vocabulary * _FLOAT
    assert memory.saved_bytes == pytest.approx(logits, rel=0.1), (
        "log-probabilities alone, once the loss is made"
    )
    assert memory.peak_bytes >= memory.weight_bytes + 2 * logits
    assert memory.input_bytes == tokens.nbytes


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4)).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    training_memory(module, (torch.randn(3, 4),), checkpointed=["2"])
    assert not any(part.training for part in module.modules())
    assert all(p.grad is None for p in module.parameters())
    assert "forward" not in vars(module[2])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_bad_input() -> None:
    with pytest.raises(HardwareCostError, match="Sequential has no submodule 'blocks' to checkpoint"):
        training_memory(_mlp(), (torch.randn(2, 32),), checkpointed=["0", "blocks"])
    with pytest.raises(HardwareCostError, match="the loss depends on no parameter"):
        training_memory(_mlp(), (torch.randn(2, 32),), loss=lambda output: output.detach().sum())
