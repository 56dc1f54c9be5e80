"""Resident sizes follow what the process really touches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hw_cost_models.runtimes.resident import forget_peak, peak_resident_bytes, resident_bytes

_MB = 1_000_000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="a peak is forgotten on Linux only")
def test_the_peak_is_of_what_was_touched_since() -> None:
    forget_peak()  # that of the tests before
    before = resident_bytes()
    block = np.ones(64 * _MB, dtype=np.uint8)
    assert resident_bytes() - before == pytest.approx(64 * _MB, abs=4 * _MB)
    high = peak_resident_bytes()
    del block
    assert peak_resident_bytes() == pytest.approx(high, abs=_MB), "the kernel counts in batches"
    assert high - resident_bytes() == pytest.approx(64 * _MB, abs=4 * _MB)
    forget_peak()
    assert peak_resident_bytes() < high - 32 * _MB
