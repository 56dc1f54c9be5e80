"""Where a run happened: machine and versions, as plain JSON."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

DISTRIBUTIONS = ("dnas", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "scipy")


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in DISTRIBUTIONS}}


def environment() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "versions": versions(),
    }


def _processor() -> str:
    """The model's name where Linux tells it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
