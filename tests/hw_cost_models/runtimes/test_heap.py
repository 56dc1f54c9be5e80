"""What a process keeps of what it freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CHILD = """
import sys
from hw_cost_models.runtimes.heap import give_back_large_blocks
from hw_cost_models.runtimes.resident import resident_bytes

if "give back" in sys.argv:
    give_back_large_blocks()
del bytearray(2_000_000)[:]  # the C library learns from it that such blocks come and go
before = resident_bytes()
blocks = [bytearray(1_000_000) for _ in range(40)]
last = blocks[-1]
del blocks
print(resident_bytes() - before)
"""


def _kept(*arguments: str) -> int:
    return int(
        subprocess.run([sys.executable, "-c", _CHILD, *arguments], check=True, capture_output=True).stdout
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the heap of other systems is left alone")
def test_what_is_freed_goes_back() -> None:
    assert _kept("give back") < 3e6
    assert _kept() > 30e6, "else there would be nothing to do"
