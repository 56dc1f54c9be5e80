"""Decays against the exponentials and products that define them."""

import torch

from search_spaces.blocks.decay import Decay, decay_between


def test_steps_and_decays_are_those_of_mamba_2() -> None:
    torch.manual_seed(0)
    decay, x = Decay(1000), torch.randn(5, 1000)
    steps, logarithms = decay(x)
    expected = (1 + (x + decay.bias).exp()).log()
    torch.testing.assert_close(steps, expected)
    torch.testing.assert_close(logarithms.exp(), (-expected * decay.log_rate.exp()).exp())


def test_begins_with_short_steps_and_many_rates() -> None:
    torch.manual_seed(0)
    decay = Decay(1000)
    steps, _ = decay(torch.zeros(1000))
    assert 0.9e-3 < steps.min() < 1.1e-3
    assert 0.09 < steps.max() < 0.101
    assert 0.4 < (steps < 1e-2).float().mean() < 0.6, "half of them below the geometric mean"
    assert 1 <= decay.log_rate.exp().min() < 1.1
    assert 15.5 < decay.log_rate.exp().max() < 16.001


def test_decay_is_the_product_of_the_decays_on_the_way() -> None:
    torch.manual_seed(0)
    decays = torch.rand(2, 6, dtype=torch.float64)
    between = decay_between(decays.log().cumsum(-1))
    for t in range(6):
        for s in range(6):
            expected = decays[:, s + 1 : t + 1].prod(-1) if s <= t else torch.zeros(2, dtype=torch.float64)
            torch.testing.assert_close(between[:, t, s], expected)


def test_what_is_forgotten_at_once_divides_nothing() -> None:
    logarithms = torch.full((4,), -1e5, requires_grad=True)
    between = decay_between(logarithms.cumsum(-1))
    assert torch.equal(between, torch.eye(4))
    between.sum().backward()
    assert logarithms.grad.isfinite().all()
