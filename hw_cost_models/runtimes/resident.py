"""The resident size of this process, as the operating system accounts for it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """Now; where there is no /proc the peak so far, the only figure that is told there."""
    return _status("VmRSS") if _STATUS.exists() else _peak_of_rusage()


def peak_resident_bytes() -> int:
    """The most it has been since the process began, or since `forget_peak`."""
    return _status("VmHWM") if _STATUS.exists() else _peak_of_rusage()


def forget_peak() -> None:
    """Let the peak begin anew, where the system can: Linux, see proc(5) under clear_refs."""
    with contextlib.suppress(OSError):
        _FORGET.write_text("5")


def _status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def _peak_of_rusage() -> int:
    import resource

    kilobyte = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte
