"""The heap of a process that is measured, or that has little memory: what is freed goes back at once."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3
_THRESHOLD = 64 * 1024


def give_back_large_blocks() -> None:
    """Blocks over 64 KiB come from the system and return to it, so that resident is what is in use.

    The GNU C library does so for blocks over 128 KiB at first, but raises that threshold, up to 32 MiB, with
    every large block that is freed; from then on what is freed stays with the process, and what a network
    needs while it is loaded counts as long as it runs: up to its weights once more. Setting the threshold
    makes it fixed (mallopt(3)); so does MALLOC_MMAP_THRESHOLD_=65536 in the environment. Other C libraries
    are left alone.
    """
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
