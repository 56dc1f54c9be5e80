"""The measuring process stays light: what it imports takes memory and time beside what it measures."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = "{'torch', 'pydantic', 'networkx', 'onnx', 'scipy', 'onnxruntime', 'openvino'}"


@pytest.mark.parametrize("module", ["worker", "growth"])
def test_it_imports_no_runtime_but_its_own(module: str) -> None:
    code = f"import sys, hw_cost_models.runtimes.{module}; print(*{_HEAVY} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


def test_the_memory_of_onnxruntime_needs_nothing_else() -> None:
    code = (
        "import sys, hw_cost_models.runtimes.onnxruntime_memory;"
        f"print(*{_HEAVY} - {{'onnxruntime'}} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""
