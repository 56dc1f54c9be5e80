"""Export: the winner as an ONNX file that says what PyTorch says, for any batch and length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from hw_cost_models.export import export_onnx
from hw_cost_models.files import write_atomic
from nas.errors import VerificationError
from search_spaces import SearchSpace, finalised

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TOLERANCE = 1e-4
"""Largest absolute difference of outputs between ONNX Runtime and PyTorch."""


@dataclass(frozen=True)
class Parity:
    max_difference: float
    shapes: tuple[tuple[int, int], ...]
    """The (batch, length) pairs that were compared."""

    def to_dict(self) -> dict[str, object]:
        return {"max_difference": self.max_difference, "shapes": [list(shape) for shape in self.shapes]}


def export_network(network: nn.Module, space: SearchSpace, shape: tuple[int, int], path: Path) -> Parity:
    """Writes the file only when it is valid and agrees with PyTorch.

    `shape` is the workload's (batch, length). Raises VerificationError when ONNX's checker refuses the file
    or an output differs by more than TOLERANCE.
    """
    import onnx

    final = finalised(network).eval()
    draft = path.with_name(f".{path.name}.draft")
    try:
        export_onnx(
            final,
            space.example_inputs(*shape),
            draft,
            dynamic=space.dynamic,
            input_names=space.input_names,
            output_names=space.output_names,
        )
        try:
            onnx.checker.check_model(str(draft), full_check=True)
        except onnx.checker.ValidationError as error:
            raise VerificationError(f"the exported file is not valid ONNX: {error}") from None
        parity = check_parity(final, space, draft, _shapes(*shape))
        write_atomic(path, draft.read_bytes())
    finally:
        draft.unlink(missing_ok=True)
    return parity


def _shapes(batch: int, length: int) -> tuple[tuple[int, int], ...]:
    """The workload's own shape, other batches, and lengths that divide nothing."""
    return ((batch, length), (batch + 2, length), (1, max(1, length // 3)), (3, length + 13), (2, 1))


def check_parity(
    network: nn.Module, space: SearchSpace, path: Path, shapes: Sequence[tuple[int, int]]
) -> Parity:
    """Compares the file in ONNX Runtime with the network. Raises VerificationError beyond TOLERANCE."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for shape in shapes:
        inputs = space.example_inputs(*shape)
        with torch.no_grad():
            expected = network(*inputs)
        fed = {name: tensor.numpy() for name, tensor in zip(space.input_names, inputs, strict=True)}
        try:
            (found,) = session.run(None, fed)
        except Exception as error:  # the runtime has an exception for each of its status codes
            said = " ".join(str(error).split())
            place = f"batch {shape[0]}, length {shape[1]}"
            raise VerificationError(f"{path.name} does not run at {place}: {said}") from None
        difference = float((torch.from_numpy(found) - expected).abs().max())
        if not difference <= TOLERANCE:
            raise VerificationError(
                f"{path.name} differs from PyTorch by {difference:.2g} at batch {shape[0]}, "
                f"length {shape[1]}; at most {TOLERANCE:g} is allowed"
            )
        worst = max(worst, difference)
    return Parity(worst, tuple(shapes))
