"""The public names, and that nothing heavy is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hw_cost_models


def test_every_public_name_is_there() -> None:
    assert sorted(dir(hw_cost_models)) == sorted(hw_cost_models.__all__)
    for name in hw_cost_models.__all__:
        assert getattr(hw_cost_models, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hw_cost_models.nothing


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, hw_cost_models, hw_cost_models.files, hw_cost_models.device, hw_cost_models.measure;"
        "print(*{'torch', 'onnx', 'onnxruntime', 'networkx', 'scipy'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""
