"""Which clock networks are timed by, and what other programs took meanwhile. The standard library alone.

A network that computes on one thread of a CPU is timed by the time that its process had a core. On a machine
of its own that is the wall clock's time, and on a busy one it stays so: on two cores, with seven programs at
work on them, a network of 30 ms took 88 to 113 ms from its 10th to its 95th percentile by the wall clock, and
30 to 32 ms on its core. Over 15 processes of 25 rounds that waited for a core 20 to 82 % of the time, the
medians of seven networks of 0.7 to 85 ms differed by 6 to 16 % (their 10th percentiles by 1 to 15 %), where
by the wall clock they rose to ten times the least. What others do to caches and to the bus is still in it.

Several threads wait for one another, spinning or asleep, and a GPU works while the process sleeps: these are
timed by the wall clock.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CORE, WALL = "core", "wall"

NANOSECONDS: dict[str, Callable[[], int]] = {CORE: time.process_time_ns, WALL: time.perf_counter_ns}
"""Each clock by its name."""

_THREADS = Path("/proc/self/task")


def clock_for(threads: int, on_cpu: bool) -> str:
    """The name of the clock for runs on so many threads. Windows counts time on a core in steps of 16 ms."""
    return CORE if threads == 1 and on_cpu and sys.platform != "win32" else WALL


def waiting_ns() -> int | None:
    """How long the threads of this process stood ready and had no core, so far and all together.

    None where the system does not tell, as only Linux does: the second number of each thread's schedstat
    (Documentation/scheduler/sched-stats.rst).
    """
    try:
        return sum(int((thread / "schedstat").read_text().split()[1]) for thread in _THREADS.iterdir())
    except OSError:
        return None
