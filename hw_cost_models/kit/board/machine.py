"""The machine at hand, as a latency file names it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_BOARD = Path("/proc/device-tree/model")
_PROCESSOR = Path("/proc/cpuinfo")


def machine() -> dict[str, str | int]:
    """Name, processor, cores, architecture and operating system.

    The name is the board's own, "Raspberry Pi 5 Model B Rev 1.0" say, where there is one, and else the
    processor's.
    """
    processor = _processor()
    return {
        "name": _text(_BOARD).strip("\0 \n") or processor,
        "processor": processor,
        "cores": os.cpu_count() or 1,
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    """Boards of ARM processors have no model name there; then what Python knows."""
    lines = _text(_PROCESSOR).splitlines()
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine() or "an unknown processor")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
