"""The mixture of experts against a loop over tokens, and its loss against arithmetic on paper."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from search_spaces import SearchSpaceError
from search_spaces.auxiliary import collect
from search_spaces.blocks import MixtureOfExperts
from search_spaces.blocks.moe import load_balancing_loss

WIDTH = 8


def token_by_token(block: MixtureOfExperts, x: Tensor) -> Tensor:
    outputs = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            scores = block.router(x[b, t]).tolist()
            best = sorted(range(len(scores)), key=lambda e: -scores[e])[: block.active]
            gates = torch.tensor([scores[e] for e in best]).softmax(0)  # renormalised over the chosen
            for gate, expert in zip(gates, best, strict=True):
                outputs[b, t] += gate * block.experts[expert](x[b, t])
    return outputs


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 9), experts=st.integers(1, 5), data=st.data())
def test_equals_a_loop_over_tokens(length: int, experts: int, data: st.DataObject) -> None:
    torch.manual_seed(length)
    block = MixtureOfExperts(WIDTH, 12, experts, data.draw(st.integers(1, experts)))
    x = torch.randn(2, length, WIDTH)
    with torch.no_grad():
        torch.testing.assert_close(block(x), token_by_token(block, x))


def test_output_of_a_text_does_not_depend_on_its_batch_mates() -> None:
    block, x = MixtureOfExperts(WIDTH, 12, 4, 2), torch.randn(5, 7, WIDTH)
    torch.testing.assert_close(block(x)[:1], block(x[:1]))


def test_loss_by_hand() -> None:
    """Two experts, top-1: both tokens go to expert 0, so f = (1, 0) and P = (0.7, 0.3): 2 · 0.7 = 1.4."""
    probabilities = torch.tensor([[0.8, 0.2], [0.6, 0.4]], requires_grad=True)
    loss = load_balancing_loss(probabilities, torch.tensor([[0], [0]]))
    assert loss.item() == pytest.approx(1.4)
    loss.backward()
    torch.testing.assert_close(probabilities.grad, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))  # 2 f / tokens


def test_loss_is_one_for_an_even_load_and_the_number_of_experts_for_a_collapsed_one() -> None:
    even = torch.full((4, 4), 0.25)
    assert load_balancing_loss(even, torch.tensor([[0, 1], [2, 3], [0, 2], [1, 3]])).item() == pytest.approx(
        1
    )
    collapsed = torch.tensor([[1.0, 0, 0, 0]] * 4)
    assert load_balancing_loss(collapsed, torch.zeros(4, 1, dtype=torch.long)).item() == pytest.approx(4)


def test_loss_is_reported_scaled_and_only_to_a_listener() -> None:
    block, x = MixtureOfExperts(WIDTH, 12, 4, 2, balance=0.5), torch.randn(2, 7, WIDTH)
    silent = block(x)
    with collect() as losses:
        heard = block(x)
    assert torch.equal(silent, heard)
    probabilities = block.router(x.flatten(0, 1)).softmax(-1)
    expected = 0.5 * load_balancing_loss(probabilities, probabilities.topk(2).indices)
    torch.testing.assert_close(losses, [expected])


def test_loss_survives_activation_checkpointing() -> None:
    torch.manual_seed(0)
    block, x = MixtureOfExperts(WIDTH, 12, 4, 2), torch.randn(2, 7, WIDTH)
    gradients = []
    for recompute in (False, True):
        block.zero_grad()
        with collect() as losses:
            output = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
            (output.square().mean() + sum(losses)).backward()
        gradients.append([p.grad.clone() for p in block.parameters()])
    assert all(torch.equal(plain, again) for plain, again in zip(*gradients, strict=True))


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
def test_trains_under_deterministic_algorithms() -> None:
    block, x = MixtureOfExperts(WIDTH, 12, 4, 2), torch.randn(8, 64, WIDTH, requires_grad=True)
    gradients = [torch.autograd.grad(block(x).square().sum(), [x, *block.parameters()]) for _ in range(2)]
    assert all(torch.equal(first, again) for first, again in zip(*gradients, strict=True))


@pytest.mark.parametrize("active", [0, 5])
def test_active_experts_must_exist(active: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"{active} active of 4 experts"):
        MixtureOfExperts(WIDTH, 12, 4, active)
