"""Where a run happened: machine and versions, as plain JSON."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from hw_cost_models.machine import processor

DISTRIBUTIONS = ("dnas", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "scipy")


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in DISTRIBUTIONS}}


def environment() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": versions(),
    }
