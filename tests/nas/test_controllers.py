"""What every controller must do. A new one needs its line in CONTROLLERS, and nothing here."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from nas.budget import METRICS
from nas.controllers import CONTROLLERS, Controller
from search_spaces import Mixture, bind
from tests.nas.toys import FIRST, INNER, NESTING, OPTIONS, SECOND, Row, X, architectures, scale, toy_table

pytestmark = pytest.mark.parametrize("controller", CONTROLLERS.values(), ids=CONTROLLERS)


def _alpha() -> dict[str, Tensor]:
    """Unequal, in double precision."""
    values = {FIRST: [1.0, -0.5, 0.2], SECOND: [0.3, -0.9], INNER: [-1.2, 0.4]}
    return {p: torch.tensor(v, dtype=torch.float64, requires_grad=True) for p, v in values.items()}


def _draw(controller: Controller, alpha: dict[str, Tensor], seed: int) -> Mixture:
    return controller.mixture(alpha, OPTIONS, torch.Generator().manual_seed(seed))


def _softmax(alpha: dict[str, Tensor], path: str) -> list[float]:
    exponentials = [math.exp(a) for a in alpha[path].tolist()]
    return [e / sum(exponentials) for e in exponentials]


def test_mixtures_are_sound(controller: Controller) -> None:
    for seed in range(20):
        mixture = _draw(controller, _alpha(), seed)
        assert mixture.weights.keys() == mixture.probabilities.keys() == OPTIONS.keys()
        for path, names in OPTIONS.items():
            running = mixture.weights[path]
            assert set(running) <= set(names)
            assert len(running) in (1, len(names)), "one path, or all"
            weights = [1.0 if w is None else w.item() for w in running.values()]
            assert 0 <= sum(weights) <= 1 + 1e-6
            assert len(weights) == 1 or sum(weights) == pytest.approx(1)
            assert mixture.probabilities[path].shape == (len(names),)
            assert mixture.probabilities[path].sum().item() == pytest.approx(1)
            assert (mixture.probabilities[path] > 0).all()


def test_probabilities_are_those_by_which_options_run(controller: Controller) -> None:
    """Chi square over 4000 draws: 13.8 and 10.8 are the 0.1 % points of two and of one degree of freedom."""
    alpha, draws, count = _alpha(), torch.Generator().manual_seed(5), 4000
    mixtures = [controller.mixture(alpha, OPTIONS, draws) for _ in range(count)]
    for path, names in OPTIONS.items():
        expected = mixtures[0].probabilities[path].tolist()
        assert expected == pytest.approx(
            _softmax(alpha, path) if controller.learns else [1 / len(names)] * len(names)
        )
        if len(mixtures[0].weights[path]) > 1:
            assert [w.item() for w in mixtures[0].weights[path].values() if w is not None] == pytest.approx(
                expected
            )
            continue
        drawn = Counter(next(iter(m.weights[path])) for m in mixtures)
        chi_square = sum(
            (drawn[o] - count * p) ** 2 / (count * p) for o, p in zip(names, expected, strict=True)
        )
        assert chi_square < {3: 13.8, 2: 10.8}[len(names)]


def test_all_randomness_is_the_generators(controller: Controller) -> None:
    drawn = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        draws = torch.Generator().manual_seed(3)
        drawn.append([controller.mixture(_alpha(), OPTIONS, draws).weights for _ in range(10)])
    for once, again in zip(*drawn, strict=True):
        assert {p: list(o) for p, o in once.items()} == {p: list(o) for p, o in again.items()}
    assert not any(a.grad is not None for a in _alpha().values())


def _atscale(mixture: Mixture, scale: float) -> Mixture:
    """Where one path runs at a random scale: at this one, so that outcomes can be compared."""
    weights = {
        path: {
            o: w - w.detach() + scale if w is not None and len(running) == 1 else w
            for o, w in running.items()
        }
        for path, running in mixture.weights.items()
    }
    return Mixture(weights, mixture.probabilities)


def _expected_gradient(controller: Controller, network: Row, alpha: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the task's loss on alpha: every outcome once, weighted by its exact probability."""
    options = {"a": network.a.options, "b": network.b.options}
    outcomes: dict[tuple[str, ...], Mixture] = {}
    draws = torch.Generator().manual_seed(0)
    possible = None
    while possible is None or len(outcomes) < possible:
        mixture = controller.mixture(alpha, options, draws)
        single = all(len(running) == 1 for running in mixture.weights.values())
        possible = len(options["a"]) * len(options["b"]) if single else 1
        outcomes[tuple(itertools.chain(*mixture.weights.values()))] = _atscale(mixture, 0.6)
    total = {path: torch.zeros_like(a) for path, a in alpha.items()}
    for taken, mixture in outcomes.items():
        p = 1.0
        if possible > 1:
            for (path, names), option in zip(options.items(), taken, strict=True):
                p *= mixture.probabilities[path][names.index(option)].item()
        loss = (bind(network, mixture)(X) - 0.3).square().mean()
        if loss.requires_grad and controller.learns:
            gradients = torch.autograd.grad(loss, list(alpha.values()))
            total = {path: total[path] + p * g for path, g in zip(alpha, gradients, strict=True)}
    return total


def test_identical_options_are_not_pushed_apart(controller: Controller) -> None:
    network = Row({n: scale(0.7) for n in "xyz"}, {n: scale(-1.4) for n in "uv"})
    alpha = {
        "a": torch.tensor([2.0, 0.0, -1.0], requires_grad=True),
        "b": torch.tensor([-0.5, 1.5], requires_grad=True),
    }
    for gradient in _expected_gradient(controller, network, alpha).values():
        assert gradient.tolist() == pytest.approx([0.0] * len(gradient), abs=1e-6)


def test_identical_options_among_others_move_alike(controller: Controller) -> None:
    """x and y are the same, z is not: per unit of probability, x and y are pushed alike.

    By the chain rule of softmax the gradient of option j is p_j (v_j - v), where v_j depends on what j does.
    """
    network = Row({"x": scale(0.7), "y": scale(0.7), "z": scale(-0.2)}, {n: scale(1.0) for n in "uv"})
    alpha = {
        "a": torch.tensor([2.0, 0.0, -1.0], requires_grad=True),
        "b": torch.tensor([-0.5, 1.5], requires_grad=True),
    }
    gradient = _expected_gradient(controller, network, alpha)["a"] / alpha["a"].softmax(0)
    assert gradient[0].item() == pytest.approx(gradient[1].item(), abs=1e-6)
    assert (abs(gradient[2] - gradient[0]).item() > 1e-3) == controller.learns


def test_a_better_option_gains(controller: Controller) -> None:
    if not controller.learns:
        return
    target = bind(
        Row({"x": scale(1.0), "y": scale(0.5)}, {"u": scale(1.0), "v": scale(2.0)}),
        Mixture({"a": {"x": None}, "b": {"u": None}}),
    )(X).detach()
    options = {"better": scale(1.0), "worse": scale(0.1)}
    network = Row(options, {n: scale(1.0) for n in "uv"})
    alpha = {path: torch.zeros(2, requires_grad=True) for path in "ab"}
    draws = torch.Generator().manual_seed(0)
    total = torch.zeros(2)
    for _ in range(200):
        loss = (
            bind(network, controller.mixture(alpha, {"a": tuple(options), "b": ("u", "v")}, draws))(X)
            - target
        )
        total += torch.autograd.grad(loss.square().mean(), [alpha["a"]])[0]
    assert total[0] < 0 < total[1]


def test_gradient_of_the_expected_cost(controller: Controller) -> None:
    """The mixture's probabilities carry it: against the sum over all architectures, written out."""
    alpha, table = _alpha(), toy_table()
    p = _draw(controller, alpha, 0).probabilities
    chances = {(path, o): p[path][i] for path, names in OPTIONS.items() for i, o in enumerate(names)}
    latency = METRICS[0]
    expected = sum(
        (
            torch.stack([chances[d] for d in a.items()]).prod() * latency.of(table.cost(a))
            for a in architectures()
        ),
        start=torch.zeros(()),
    )
    if not controller.learns:
        assert not expected.requires_grad
        return
    found = torch.autograd.grad(expected, list(alpha.values()))
    fresh = _alpha()
    soft = {path: a.softmax(0) for path, a in fresh.items()}
    inner = table.options[SECOND, "nested"].latency_ms + soft[INNER] @ torch.tensor(
        [0.5, 3.0], dtype=torch.float64
    )
    closed = soft[FIRST] @ torch.tensor([2.0, 4.0, 0.0], dtype=torch.float64) + soft[SECOND][0] * inner + 1.0
    assert expected.item() == pytest.approx(closed.item())
    for a, b in zip(found, torch.autograd.grad(closed, list(fresh.values())), strict=True):
        torch.testing.assert_close(a, b)
    assert NESTING[INNER] == (SECOND, "nested")
