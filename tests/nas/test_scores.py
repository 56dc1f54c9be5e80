"""Scores recover what was planted, and say honestly how much of it they found."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from nas.discretise import Decision, Scores
from nas.scores import FittedScores, fit_scores
from search_spaces import Architecture
from tests.nas.toys import INNER, NESTING, OPTIONS, architectures

CHOICES = {f"c{i}": ("a", "b", "c", "d") for i in range(5)}
FLAT: dict[str, Decision | None] = dict.fromkeys(CHOICES)
ALONE = dict(zip(CHOICES, CHOICES, strict=True))
"""Every choice has one path."""


def _planted(rng: np.random.Generator, pairs: float = 0.0) -> Scores:
    options = {(p, o): float(rng.normal()) for p, os in CHOICES.items() for o in os}
    neighbours = {
        ((p, a), (q, b)): pairs * float(rng.normal())
        for p, q in itertools.pairwise(CHOICES)
        for a in CHOICES[p]
        for b in CHOICES[q]
    }
    return Scores(options, neighbours if pairs else {})


def _drawn(rng: np.random.Generator, count: int) -> list[Architecture]:
    return [Architecture({p: str(rng.choice(os)) for p, os in CHOICES.items()}) for _ in range(count)]


def _kendall(a: list[float], b: list[float]) -> float:
    """By its definition: concordant less discordant pairs, over all pairs."""
    signs = [
        np.sign((x - u) * (y - v)) for (x, y), (u, v) in itertools.combinations(zip(a, b, strict=True), 2)
    ]
    return float(np.mean(signs))


def _truth(planted: Scores, fitted: FittedScores, rng: np.random.Generator) -> float:
    """Rank correlation between planted and fitted scores on architectures that neither has seen."""
    fresh = _drawn(rng, 150)
    return _kendall([planted.of(a) for a in fresh], [fitted.scores.of(a) for a in fresh])


def test_additive_scores_are_recovered_from_noisy_losses() -> None:
    rng = np.random.default_rng(0)
    planted, seen = _planted(rng), _drawn(rng, 200)
    losses = [3.0 - planted.of(a) + 0.3 * float(rng.normal()) for a in seen]
    fitted = fit_scores(CHOICES, FLAT, ALONE, seen, losses)
    assert not fitted.pairs
    assert fitted.scores.pairs == {}
    assert fitted.evaluations == 200
    for path, names in CHOICES.items():  # only differences within a choice mean anything
        found = np.array([fitted.scores.options[path, o] for o in names])
        true = np.array([planted.options[path, o] for o in names])
        assert found - found.mean() == pytest.approx(true - true.mean(), abs=0.2)
    truth = _truth(planted, fitted, rng)
    assert truth > 0.9
    assert fitted.held_out_kendall == pytest.approx(truth, abs=0.12)
    assert fitted.held_out_spearman > fitted.held_out_kendall


def test_the_best_architecture_is_the_planted_one() -> None:
    rng = np.random.default_rng(1)
    planted, seen = _planted(rng), _drawn(rng, 150)
    fitted = fit_scores(CHOICES, FLAT, ALONE, seen, [-planted.of(a) for a in seen])
    best = {p: max(os, key=lambda o, p=p: planted.options[p, o]) for p, os in CHOICES.items()}
    found = {p: max(os, key=lambda o, p=p: fitted.scores.options[p, o]) for p, os in CHOICES.items()}
    assert found == best


def test_pairs_are_used_where_they_help() -> None:
    rng = np.random.default_rng(2)
    planted, seen = _planted(rng, pairs=2.0), _drawn(rng, 400)
    losses = [-planted.of(a) + 0.1 * float(rng.normal()) for a in seen]
    fitted = fit_scores(CHOICES, FLAT, ALONE, seen, losses)
    assert fitted.pairs
    assert set(fitted.scores.pairs) == set(planted.pairs)
    truth = _truth(planted, fitted, rng)
    assert truth > 0.75
    assert fitted.held_out_kendall == pytest.approx(truth, abs=0.12)
    alone = Scores(fitted.scores.options)
    fresh = _drawn(rng, 150)
    assert _kendall([planted.of(a) for a in fresh], [alone.of(a) for a in fresh]) < truth - 0.1


def test_noise_is_called_noise() -> None:
    correlations = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        fitted = fit_scores(CHOICES, FLAT, ALONE, _drawn(rng, 100), rng.normal(size=100).tolist())
        correlations += [fitted.held_out_kendall, fitted.held_out_spearman]
        assert all(math.isfinite(s) for s in fitted.scores.options.values())
    assert abs(np.mean(correlations)) < 0.15
    assert max(map(abs, correlations)) < 0.75


def test_losses_that_are_all_equal_order_nothing() -> None:
    fitted = fit_scores(CHOICES, FLAT, ALONE, _drawn(np.random.default_rng(0), 20), [1.0] * 20)
    assert (fitted.held_out_kendall, fitted.held_out_spearman) == (0.0, 0.0)
    assert set(fitted.scores.options.values()) == {0.0}


def test_nested_choices_have_scores_and_no_pairs() -> None:
    rng = np.random.default_rng(3)
    every = architectures()
    value = {a: float(rng.normal()) for a in every}
    seen = every * 12
    fitted = fit_scores(
        OPTIONS,
        NESTING,
        dict(zip(OPTIONS, OPTIONS, strict=True)),
        seen,
        [-value[a] + 0.01 * float(rng.normal()) for a in seen],
    )
    assert {path for path, _ in fitted.scores.options} == set(OPTIONS)
    assert not any(INNER in (a[0], b[0]) for a, b in fitted.scores.pairs)
    taken = [a for a in every if INNER in a]
    wide_is_better = np.mean([value[a] for a in taken if a[INNER] == "wide"]) > np.mean(
        [value[a] for a in taken if a[INNER] == "narrow"]
    )
    scores = fitted.scores.options
    assert (scores[INNER, "wide"] > scores[INNER, "narrow"]) == wide_is_better


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_a_choice_that_options_share_is_fitted_once(strength: float) -> None:
    """The five choices inside both options of another, at two paths each: as if seen without that other."""
    rng = np.random.default_rng(5)
    planted, bodies = _planted(rng, strength), _drawn(rng, 300)
    sizes = rng.choice(["large", "small"], 300).tolist()
    losses = [
        float(size == "small") - planted.of(a) + 0.01 * float(rng.normal())
        for size, a in zip(sizes, bodies, strict=True)
    ]
    paths = {f"size.{size}.{path}": ("size", size) for size in ("large", "small") for path in CHOICES}
    options = {"size": ("large", "small"), **{path: CHOICES[path[-2:]] for path in paths}}
    first = {"size": "size", **{path: f"size.large.{path[-2:]}" for path in paths}}
    seen = [
        Architecture({"size": size, **{f"size.{size}.{path}": o for path, o in a.items()}})
        for size, a in zip(sizes, bodies, strict=True)
    ]
    fitted = fit_scores(options, {"size": None, **paths}, first, seen, losses)
    scores = fitted.scores
    assert set(scores.options) == {(path, o) for path, names in options.items() for o in names}
    assert scores.options["size", "large"] - scores.options["size", "small"] == pytest.approx(1.0, abs=0.1)
    for path, names in CHOICES.items():
        for o in names:
            assert scores.options[f"size.large.{path}", o] == scores.options[f"size.small.{path}", o]
    assert fitted.pairs == (strength > 0)
    assert {a[0].split(".")[1] == b[0].split(".")[1] for a, b in scores.pairs} <= {True}
    assert len(scores.pairs) == (2 * len(planted.pairs) if strength else 0)
    fresh = _drawn(rng, 100)
    small = [Architecture({"size": "small", **{f"size.small.{p}": o for p, o in a.items()}}) for a in fresh]
    assert _kendall([planted.of(a) for a in fresh], [scores.of(a) for a in small]) > 0.75


def test_too_few_evaluations() -> None:
    seen = _drawn(np.random.default_rng(0), 9)
    with pytest.raises(ValueError, match="9 evaluations are too few to fit scores: give at least 10"):
        fit_scores(CHOICES, FLAT, ALONE, seen, [1.0] * 9)


@pytest.mark.parametrize("pairs", [0.0, 2.0])
def test_scores_survive_json(pairs: float) -> None:
    rng = np.random.default_rng(4)
    planted, seen = _planted(rng, pairs), _drawn(rng, 300)
    fitted = fit_scores(CHOICES, FLAT, ALONE, seen, [-planted.of(a) for a in seen])
    assert fitted.pairs == (pairs > 0)
    assert FittedScores.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted
