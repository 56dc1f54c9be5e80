"""Interleaved rounds: timing several networks against each other. The standard library and numpy alone.

Every round visits every network once, in random order, so that whatever disturbs the machine disturbs all
alike. A visit runs once untimed, because the networks before have taken the caches, then several times by
the clock. (On 2 shared cores, between 8 fresh processes of 25 rounds, the first runs of the visits differ by
5-7 % at their 10th percentile; with a run ahead of them, three timed runs a visit differ by 0.4 % at the 10th
percentile and 2-5 % at the median, with and without two busy neighbours.)
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_VISIT_MS = 10.0
"""How long the timed runs of a visit should take together; they are one at least and five at most."""
_NETWORK_MS = 5000.0
"""What a network may take over all rounds; a slower one sits rounds out, down to the fewest visits."""
_FEWEST_VISITS = 7


def interleaved(
    runs: list[Callable[[], object]],
    rounds: int,
    seed: int,
    finished: Callable[[int], None],
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> list[list[list[float]]]:
    """The times in milliseconds: one list a network, one list a visit, one figure a timed run.

    Each of `runs` must return only when its work is done. `finished` is told the number of rounds done.
    """
    samples: list[list[list[float]]] = [[] for _ in runs]
    for number, visited in enumerate(each_round(runs, rounds, seed, clock_ns), start=1):
        for i, times in visited.items():
            samples[i].append(times)
        finished(number)
    return samples


def each_round(
    runs: list[Callable[[], object]],
    rounds: int,
    seed: int,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> Iterator[dict[int, list[float]]]:
    """The same, a round at a time: the times of its visits by the position of the network."""
    rng = random.Random(seed)
    warm = [_warm_up(run, clock_ns) for run in runs]
    repeats = [min(5, max(1, round(_VISIT_MS / ms))) for ms in warm]
    visits = [
        min(rounds, max(_FEWEST_VISITS, int(_NETWORK_MS / (ms * (1 + count)))))
        for ms, count in zip(warm, repeats)
    ]
    for number in range(rounds):
        # A network with fewer visits than rounds has them spread evenly over the whole measurement.
        due = [
            i for i in range(len(runs)) if (number + 1) * visits[i] // rounds > number * visits[i] // rounds
        ]
        rng.shuffle(due)
        visited = {}
        for i in due:
            runs[i]()
            visited[i] = [_milliseconds(runs[i], clock_ns) for _ in range(repeats[i])]
        yield visited


def summary(visits: list[list[float]]) -> dict[str, float | int]:
    """The fields of `hw_cost_models.Timing`, from the visits of one network."""
    p10, p50, p95 = np.percentile([ms for visit in visits for ms in visit], [10, 50, 95])
    return {
        "p10_ms": float(p10),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "rounds": len(visits),
        "trend": _trend(visits),
    }


def _trend(visits: list[list[float]]) -> float:
    """The median of the later half of the visits over that of the earlier; of an odd number, without the
    middle one."""
    half = len(visits) // 2
    if half == 0:
        return 1.0
    earlier, later = (
        np.median([ms for visit in part for ms in visit]) for part in (visits[:half], visits[-half:])
    )
    return float(later / earlier)


def _warm_up(run: Callable[[], object], clock_ns: Callable[[], int]) -> float:
    """Let the runtime plan its memory, then say roughly how long a run takes."""
    run()
    return max(min(_milliseconds(run, clock_ns) for _ in range(2)), 1e-6)


def _milliseconds(run: Callable[[], object], clock_ns: Callable[[], int]) -> float:
    start = clock_ns()
    run()
    return (clock_ns() - start) / 1e6
