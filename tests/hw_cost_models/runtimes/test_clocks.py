"""Time on a core is time of computing, and none of waiting."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hw_cost_models.runtimes.clocks import CORE, NANOSECONDS, WALL, clock_for, waiting_ns

_ONE_CORE = """
import os, subprocess, sys, time
from hw_cost_models.runtimes.clocks import CORE, NANOSECONDS, WALL, waiting_ns
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
start = {name: clock() for name, clock in NANOSECONDS.items()}
waited = waiting_ns()
while NANOSECONDS[CORE]() - start[CORE] < 500_000_000:
    pass
passed = {name: clock() - start[name] for name, clock in NANOSECONDS.items()}
print((waiting_ns() - waited + passed[CORE]) / passed[WALL], passed[WALL] / passed[CORE])
other.kill()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there every run is timed by the wall clock")
def test_one_thread_of_a_cpu_is_timed_on_its_core() -> None:
    assert clock_for(1, on_cpu=True) == CORE
    assert clock_for(2, on_cpu=True) == clock_for(1, on_cpu=False) == WALL


def test_sleep_takes_the_wall_clock_alone() -> None:
    before = {name: clock() for name, clock in NANOSECONDS.items()}
    time.sleep(0.2)
    spent = {name: clock() - before[name] for name, clock in NANOSECONDS.items()}
    assert spent[WALL] >= 200_000_000
    assert spent[CORE] < 100_000_000


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="waiting is told by Linux only")
def test_a_core_shared_with_another_program() -> None:
    """Time on the core and waiting for it add up to the whole, of which the other has its part."""
    out = subprocess.run([sys.executable, "-c", _ONE_CORE], capture_output=True, text=True, check=True)
    whole, slower = map(float, out.stdout.split())
    assert whole == pytest.approx(1, abs=0.1)
    assert slower > 1.2


def test_waiting_never_shrinks() -> None:
    first = waiting_ns()
    if first is None:
        pytest.skip("this system does not tell")
    second = waiting_ns()
    assert second is not None
    assert second >= first >= 0
