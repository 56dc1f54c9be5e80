"""Resident sizes follow what the process really touches."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from hw_cost_models.runtimes.resident import forget_peak, peak_resident_bytes, resident_bytes

_MB = 1_000_000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="a peak is forgotten on Linux only")
def test_the_peak_is_of_what_was_touched_since() -> None:
    forget_peak()  # that of the tests before
    before = resident_bytes()
    block = mmap.mmap(-1, 64 * _MB)  # the heap might give memory that the tests before have touched
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    assert resident_bytes() - before == pytest.approx(64 * _MB, abs=4 * _MB)
    high = peak_resident_bytes()
    block.close()
    assert peak_resident_bytes() == pytest.approx(high, abs=_MB), "the kernel counts in batches"
    assert high - resident_bytes() == pytest.approx(64 * _MB, abs=4 * _MB)
    forget_peak()
    assert peak_resident_bytes() < high - 32 * _MB
