"""Scores: predicted quality of options, and of neighbouring pairs, fitted to shared-weight evaluations.

    -loss(a)  ~  mean + sum_c s[c, a_c] + sum over neighbouring choices s[c, a_c; d, a_d]

by ridge regression on architectures from all over the cost range (linear, as in DONNA, arXiv:2012.08859, or
with pairs, as in BINAS, arXiv:2110.12399). Log-probabilities that a controller learnt under a cost penalty
already contain the cost; these do not, so that constraining the cost at discretisation counts it once.

A fifth of the evaluations is held out: on the rest, cross-validation decides the ridge and whether pairs
help; the held-out fifth gives the reported rank correlation; then all are fitted.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from nas.discretise import Decision, Scores
from nas.settings import FEWEST_EVALUATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from search_spaces import Architecture

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
FOLDS = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FittedScores:
    scores: Scores
    evaluations: int
    pairs: bool
    ridge: float
    held_out_kendall: float
    held_out_spearman: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "evaluations": self.evaluations,
            "pairs": self.pairs,
            "ridge": self.ridge,
            "held_out_kendall": self.held_out_kendall,
            "held_out_spearman": self.held_out_spearman,
            "options": [[*decision, score] for decision, score in self.scores.options.items()],
            "neighbours": [[*a, *b, score] for (a, b), score in self.scores.pairs.items()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FittedScores:
        return cls(
            Scores(
                {(path, option): score for path, option, score in data["options"]},
                {((p, a), (q, b)): score for p, a, q, b, score in data["neighbours"]},
            ),
            data["evaluations"],
            data["pairs"],
            data["ridge"],
            data["held_out_kendall"],
            data["held_out_spearman"],
        )


def fit_scores(
    choices: Mapping[str, tuple[str, ...]],
    nesting: Mapping[str, Decision | None],
    first: Mapping[str, str],
    architectures: Sequence[Architecture],
    losses: Sequence[float],
) -> FittedScores:
    """Fits `-losses`. Paths that `first` maps to the same have the same scores: see `search_spaces.twins`.

    Raises ValueError for fewer than FEWEST_EVALUATIONS.
    """
    if len(architectures) < FEWEST_EVALUATIONS:
        raise ValueError(
            f"{len(architectures)} evaluations are too few to fit scores: give at least {FEWEST_EVALUATIONS}"
        )
    decisions = [(path, option) for path in dict.fromkeys(first.values()) for option in choices[path]]
    neighbours = [
        ((p, a), (q, b)) for p, q in _neighbours(first, nesting) for a in choices[p] for b in choices[q]
    ]
    taken = [{first[path]: option for path, option in a.items()} for a in architectures]
    quality, alone = -np.array(losses), _features(taken, decisions)
    both = np.hstack([alone, _pair_features(taken, neighbours)])
    train = np.arange(len(quality)) % 5 != 4  # evaluations come in random order
    trials = [(_cross_validated(x[train], quality[train], r), r, x) for x in (alone, both) for r in RIDGES]
    _, ridge, x = min(trials, key=lambda trial: trial[0])
    held_out = _predict(x[train], quality[train], ridge, x[~train])
    weights = _ridge(x - x.mean(0), quality - quality.mean(), ridge).tolist()
    options, pairs = weights[: len(decisions)], weights[len(decisions) :]
    scores = Scores(
        dict(zip(decisions, options, strict=True)), dict(zip(neighbours, pairs, strict=True)) if pairs else {}
    )
    return FittedScores(
        _at_every_path(scores, first, nesting),
        evaluations=len(quality),
        pairs=x is both,
        ridge=ridge,
        held_out_kendall=_correlation(kendalltau, held_out, quality[~train]),
        held_out_spearman=_correlation(spearmanr, held_out, quality[~train]),
    )


def _neighbours(
    first: Mapping[str, str], nesting: Mapping[str, Decision | None]
) -> Iterator[tuple[str, str]]:
    """Choices that follow each other in the same place: in the network, or in an option."""
    places: dict[Decision | None, list[str]] = {}
    for path in dict.fromkeys(first.values()):
        places.setdefault(nesting.get(path), []).append(path)
    return (pair for paths in places.values() for pair in itertools.pairwise(paths))


def _at_every_path(
    scores: Scores, first: Mapping[str, str], nesting: Mapping[str, Decision | None]
) -> Scores:
    """What was fitted for first paths, for all paths; of a pair those that stand in the same place."""
    paths: dict[str, list[str]] = {}
    for path, leader in first.items():
        paths.setdefault(leader, []).append(path)
    return Scores(
        {(path, o): score for (p, o), score in scores.options.items() for path in paths[p]},
        {
            ((one, a), (other, b)): score
            for ((p, a), (q, b)), score in scores.pairs.items()
            for one in paths[p]
            for other in paths[q]
            if nesting.get(one) == nesting.get(other)
        },
    )


def _correlation(rank: Callable[[Array, Array], Any], predicted: Array, found: Array) -> float:
    """What is constant has no rank correlation: it orders nothing."""
    if np.ptp(predicted) == 0 or np.ptp(found) == 0:
        return 0.0
    return float(rank(predicted, found).statistic)


def _features(architectures: Sequence[Mapping[str, str]], decisions: Sequence[Decision]) -> Array:
    return np.array([[float(a.get(path) == option) for path, option in decisions] for a in architectures])


def _pair_features(
    architectures: Sequence[Mapping[str, str]], pairs: Sequence[tuple[Decision, Decision]]
) -> Array:
    return np.array(
        [[float(a.get(p) == o and a.get(q) == r) for (p, o), (q, r) in pairs] for a in architectures]
    )


def _ridge(x: Array, y: Array, ridge: float) -> Array:
    """Solved in the dual where there are more features than rows: (x'x + r)^-1 x'y = x'(xx' + r)^-1 y."""
    solution: Array = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), y)
    return solution


def _predict(x: Array, y: Array, ridge: float, unseen: Array) -> Array:
    predicted: Array = (unseen - x.mean(0)) @ _ridge(x - x.mean(0), y - y.mean(), ridge) + y.mean()
    return predicted


def _cross_validated(x: Array, y: Array, ridge: float) -> float:
    """Mean square error over the folds."""
    fold = np.arange(len(y)) % FOLDS
    errors = [_predict(x[fold != k], y[fold != k], ridge, x[fold == k]) - y[fold == k] for k in range(FOLDS)]
    return float(np.mean(np.concatenate(errors) ** 2))
