"""The machine at hand, as a latency file names it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from hw_cost_models.machine import processor

_BOARD = Path("/proc/device-tree/model")


def machine() -> dict[str, str | int]:
    """Name, processor, cores, architecture and operating system.

    The name is the board's own, "Raspberry Pi 5 Model B Rev 1.0" say, where there is one, and else the
    processor's.
    """
    named = processor()
    return {
        "name": _text(_BOARD).strip("\0 \n") or named,
        "processor": named,
        "cores": os.cpu_count() or 1,
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
