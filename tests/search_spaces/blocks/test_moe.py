"""The mixture of experts against a loop over tokens, and its losses against arithmetic on paper."""

import math
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hw_cost_models import export_onnx, static_cost
from search_spaces import SearchSpaceError
from search_spaces.auxiliary import collect, collect_loads
from search_spaces.blocks import MixtureOfExperts
from search_spaces.blocks.moe import load_balancing_loss, router_z_loss, shares_of

WIDTH, HIDDEN = 8, 12


def token_by_token(block: MixtureOfExperts, x: Tensor) -> Tensor:
    """Every token alone, its experts found by sorting; a shared expert is a slice of the shared width."""
    rows = []
    for token in x.flatten(0, 1):
        scores = block.router(token)
        order = sorted(range(len(scores)), key=lambda e: -scores[e].item())
        best = order[: block.active]
        gates = scores[best].softmax(0)  # renormalised over the chosen
        output = torch.zeros_like(token)
        for gate, expert in zip(gates, best, strict=True):
            if expert < len(block.experts):
                output = output + gate * block.experts[expert](token)
        rows.append(output + sum(shared_outputs(block, token)))
    return torch.stack(rows).view_as(x)


def shared_outputs(block: MixtureOfExperts, token: Tensor) -> list[Tensor]:
    if block.shared is None:
        return []
    gates, ups = block.shared.gate_up.weight.chunk(2)
    outs = block.shared.out.weight
    return [
        outs[:, i : i + HIDDEN]
        @ (nn.functional.silu(gates[i : i + HIDDEN] @ token) * (ups[i : i + HIDDEN] @ token))
        for i in range(0, outs.shape[1], HIDDEN)
    ]


def gradients(block: MixtureOfExperts, output: Tensor, x: Tensor) -> list[Tensor]:
    slope = torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(0))
    asked = [x, *block.parameters()]
    found = torch.autograd.grad((output * slope).sum(), asked, allow_unused=True)
    return [torch.zeros_like(a) if g is None else g for a, g in zip(asked, found, strict=True)]


@settings(max_examples=15, deadline=None)
@given(
    length=st.integers(1, 9),
    experts=st.integers(1, 5),
    shared=st.integers(0, 2),
    null=st.integers(0, 3),
    data=st.data(),
)
def test_equals_a_loop_over_tokens(
    length: int, experts: int, shared: int, null: int, data: st.DataObject
) -> None:
    torch.manual_seed(length)
    active = data.draw(st.integers(1, experts + null))
    block = MixtureOfExperts(WIDTH, HIDDEN, experts, active, shared=shared, null=null).double()
    x = torch.randn(2, length, WIDTH, dtype=torch.float64, requires_grad=True)
    output, expected = block(x), token_by_token(block, x)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(gradients(block, output, x), gradients(block, expected, x))


def test_a_token_may_skip_every_expert_and_costs_nothing_then() -> None:
    """A router that sends tokens with a positive first entry to null experts alone, the others to two."""
    block, seen = MixtureOfExperts(WIDTH, HIDDEN, experts=3, active=2, null=2), []
    for expert in block.experts:
        expert.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    with torch.no_grad():
        block.router.weight.zero_()
        block.router.weight[3:, 0] = 1.0
        block.router.weight[:2, 0] = -1.0
    x = torch.randn(4, 5, WIDTH)
    x[..., 0] = torch.tensor([1.0, -1.0, 2.0, 3.0, 1.0])
    output = block(x)
    assert (output[:, [0, 2, 3, 4]] == 0).all()
    assert (output[:, 1] != 0).all()
    assert seen == [4, 4, 0]


def test_the_tasks_own_loss_teaches_whom_to_let_skip() -> None:
    torch.manual_seed(0)
    block = MixtureOfExperts(WIDTH, HIDDEN, experts=2, active=2, null=1)
    block(torch.randn(2, 9, WIDTH)).square().sum().backward()
    assert block.router.weight.grad[2].abs().min() > 0


def test_null_experts_hold_no_weights() -> None:
    plain, lazy = MixtureOfExperts(WIDTH, HIDDEN, 4, 2), MixtureOfExperts(WIDTH, HIDDEN, 4, 2, null=3)
    costs = [static_cost(block, (torch.ones(1, 5, WIDTH),)) for block in (plain, lazy)]
    assert costs[1].parameters - costs[0].parameters == 3 * WIDTH


def test_output_of_a_text_does_not_depend_on_its_batch_mates() -> None:
    block, x = MixtureOfExperts(WIDTH, HIDDEN, 4, 2, shared=1, null=2), torch.randn(5, 7, WIDTH)
    torch.testing.assert_close(block(x)[:1], block(x[:1]))


def test_loss_by_hand() -> None:
    """Two experts, top-1: both tokens go to expert 0, so f = (1, 0) and P = (0.7, 0.3): 2 · 0.7 = 1.4."""
    probabilities = torch.tensor([[0.8, 0.2], [0.6, 0.4]], requires_grad=True)
    loss = load_balancing_loss(probabilities, shares_of(torch.tensor([[0], [0]]), 2))
    assert loss.item() == pytest.approx(1.4)
    loss.backward()
    torch.testing.assert_close(probabilities.grad, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))  # 2 f / tokens


def test_loss_is_one_for_an_even_load_and_the_number_of_experts_for_a_collapsed_one() -> None:
    even = shares_of(torch.tensor([[0, 1], [2, 3], [0, 2], [1, 3]]), 4)
    assert load_balancing_loss(torch.full((4, 4), 0.25), even).item() == pytest.approx(1)
    collapsed = torch.tensor([[1.0, 0, 0, 0]] * 4)
    taken = shares_of(torch.zeros(4, 1, dtype=torch.long), 4)
    assert load_balancing_loss(collapsed, taken).item() == pytest.approx(4)


def test_null_experts_are_balanced_as_a_group() -> None:
    """f = (0.5, 0, 0.5, 0): with the last two null f becomes (0.5, 0, 0.25, 0.25), whichever was picked.

    4 (0.5 · 0.4 + 0.25 · 0.2 + 0.25 · 0.3) = 1.3.
    """
    probabilities = torch.tensor([[0.4, 0.1, 0.2, 0.3]])
    for picked in (2, 3):
        loss = load_balancing_loss(probabilities, shares_of(torch.tensor([[0, picked]]), 4), null=2)
        assert loss.item() == pytest.approx(1.3)


def test_z_loss_by_hand() -> None:
    """log(1 + 3) and log(2 + 2), squared and averaged; its gradient is 2 log(4) · softmax / tokens."""
    scores = torch.tensor([[1.0, 3.0], [2.0, 2.0]]).log().requires_grad_()
    loss = router_z_loss(scores)
    assert loss.item() == pytest.approx(math.log(4) ** 2)
    loss.backward()
    torch.testing.assert_close(scores.grad, math.log(4) * torch.tensor([[0.25, 0.75], [0.5, 0.5]]))


def test_one_loss_is_reported_scaled_and_only_to_a_listener() -> None:
    block = MixtureOfExperts(WIDTH, HIDDEN, 4, 2, balance=0.5, z_loss=0.25, null=2)
    x = torch.randn(2, 7, WIDTH)
    silent = block(x)
    with collect() as losses:
        heard = block(x)
    assert torch.equal(silent, heard)
    scores = block.router(x.flatten(0, 1))
    probabilities = scores.softmax(-1)
    shares = shares_of(probabilities.topk(2).indices, 6)
    expected = 0.5 * load_balancing_loss(probabilities, shares, 2) + 0.25 * router_z_loss(scores)
    torch.testing.assert_close(losses, [expected])


def test_the_load_is_told_with_its_router_and_what_null_experts_got_is_the_rest() -> None:
    block, x = MixtureOfExperts(WIDTH, HIDDEN, 2, active=1, null=1), torch.zeros(1, 4, WIDTH)
    with torch.no_grad():
        block.router.weight.copy_(torch.eye(3, WIDTH))
    x[0, [0, 1, 2, 3], [0, 2, 0, 1]] = 1.0  # to expert 0, null, expert 0, expert 1
    with collect_loads() as loads:
        block(x)
    ((router, shares),) = loads
    assert router is block.router
    assert shares.tolist() == [0.5, 0.25]


def test_loss_survives_activation_checkpointing() -> None:
    torch.manual_seed(0)
    block, x = MixtureOfExperts(WIDTH, HIDDEN, 4, 2), torch.randn(2, 7, WIDTH)
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
    block, x = MixtureOfExperts(WIDTH, HIDDEN, 4, 2), torch.randn(8, 64, WIDTH, requires_grad=True)
    gradients = [torch.autograd.grad(block(x).square().sum(), [x, *block.parameters()]) for _ in range(2)]
    assert all(torch.equal(first, again) for first, again in zip(*gradients, strict=True))


def test_exported_it_routes_as_in_pytorch_at_any_batch_and_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    block = MixtureOfExperts(WIDTH, HIDDEN, 6, 3, shared=1, null=3).eval()
    file = tmp_path / "experts.onnx"
    names = {"input_names": ["x"], "output_names": ["y"]}
    export_onnx(block, (torch.randn(1, 4, WIDTH),), file, dynamic={0: "batch", 1: "length"}, **names)
    session = onnxruntime.InferenceSession(file)
    for batch, length in ((1, 1), (3, 17), (2, 64)):
        x = torch.randn(batch, length, WIDTH)
        (y,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(y), block(x).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("active", "null"), [(0, 0), (5, 0), (7, 2)])
def test_active_experts_must_exist(active: int, null: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"^{active} active of 4 experts.* <= {4 + null}$"):
        MixtureOfExperts(WIDTH, HIDDEN, 4, active, null=null)


@pytest.mark.parametrize(("experts", "shared", "null"), [(0, 0, 1), (1, -1, 0), (1, 0, -1)])
def test_counts_must_be_counts(experts: int, shared: int, null: int) -> None:
    with pytest.raises(SearchSpaceError, match=f"{experts} experts, {shared} shared and {null} null"):
        MixtureOfExperts(WIDTH, HIDDEN, experts, 1, shared=shared, null=null)
