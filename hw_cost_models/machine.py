"""What this machine says of itself: the name of its processor and the size of its largest cache."""

from __future__ import annotations

import platform
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def processor() -> str:
    """The processor's name where Linux tells it, as it does not of ARM's; else what Python knows."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine() or "an unknown processor")


def cache_bytes(caches: Path = _CACHES) -> int | None:
    """The largest cache that the first processor sees; None where the system does not tell."""
    sizes = [re.fullmatch(r"(\d+)([KMG]?)\s*", path.read_text()) for path in caches.glob("index*/size")]
    return max((int(size[1]) * _UNITS[size[2]] for size in sizes if size), default=None)
