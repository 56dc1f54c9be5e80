"""A search over a space in which examples may leave half-way, to a file that lets them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file

from hw_cost_models.cost import Workload
from nas.start import search
from search_spaces import LabelledText, encoder, select
from search_spaces.rules import at_least, where
from tests.nas.toys import EFFORT
from tests.search_spaces.narrowed import narrowed

if TYPE_CHECKING:
    from pathlib import Path

KEPT = {"attention", "convolution", "swiglu_2x", "swiglu_4x", "skip"}


def test_a_search_that_must_take_an_exit_ends_and_exports(tmp_path: Path) -> None:
    for label, word in (("one", "import this\n"), ("two", "return that\n")):
        (tmp_path / "texts" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "texts" / label / f"{number}.txt").write_text(40 * word)
    space = narrowed(encoder(layers=2, width=16, heads=2, classes=2), KEPT)
    leaves = at_least(1, where(space.network, "exit", "exit_0.8", "exit_0.95"))
    result = search(
        replace(space, rules=(leaves,), references={}),
        LabelledText(tmp_path / "texts", length=32),
        tmp_path / "run",
        device="raspberry-pi-5",
        workload=Workload(batch=1, length=32),
        effort=EFFORT,
        seed=0,
    )
    assert result.architecture["exit"] in ("exit_0.8", "exit_0.95")
    assert "NonZero" in {node.op_type for node in onnx.load(result.onnx).graph.node}
    network = select(space.network, result.architecture)
    network.load_state_dict(load_file(result.path / "winner.safetensors"))
    session = onnxruntime.InferenceSession(result.onnx)
    (tokens,) = space.example_inputs(3, 20)
    (found,) = session.run(None, {"input_ids": tokens.numpy()})
    with torch.no_grad():
        expected = network.eval()(tokens)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
