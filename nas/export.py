"""Export: the winner as ONNX files that say what PyTorch says, for any batch, length and context.

`winner.onnx` takes whole sequences. Where a search limits what a token takes, `winner-decode.onnx` stands
beside it: one token and the state before it, `past_key_values.<block>.<name>`, to the output and the state
after it, `present.<block>.<name>`, where blocks are numbered in order. A prefill file gives the output for
a whole prompt and the state after it: what a decode file goes on from.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hw_cost_models.export import export_onnx
from hw_cost_models.files import digest, write_atomic
from nas.errors import VerificationError
from search_spaces import Decoder, Prefill, SearchSpace, finalised
from search_spaces.quantised import is_quantised

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from hw_cost_models.cost import Kind
    from nas.assembly import Assembly

    Array = np.ndarray[Any, Any]

TOLERANCE = 1e-4
"""Largest absolute difference of outputs between ONNX Runtime and PyTorch."""
ROUNDING = 0.02
"""Beside that, of a network of integers, as a part of its largest output: a sum of floats that lies on the
border between two integers may go to either, and what follows then differs by a step in that place. The
integers themselves are the same; networks in floats are held to TOLERANCE alone."""


@dataclass(frozen=True)
class Parity:
    max_difference: float
    shapes: tuple[tuple[int, int], ...]
    """The (batch, length) pairs that were compared."""
    rounding: float = 0.0
    """The part of the largest output that was allowed beside TOLERANCE."""

    def to_dict(self) -> dict[str, object]:
        told = {"max_difference": self.max_difference, "shapes": [list(shape) for shape in self.shapes]}
        return {**told, "rounding": self.rounding} if self.rounding else told


def file_of(kind: Kind) -> str:
    """The file that runs such a workload."""
    return "winner-decode.onnx" if kind == "decode" else "winner.onnx"


def export_winner(network: nn.Module, assemblies: Sequence[Assembly], folder: Path) -> dict[str, Any]:
    """Writes the file of every workload into the folder; how well each agrees, and its digest."""
    forward, *others = assemblies
    shape = forward.workload.batch, forward.workload.length
    path = folder / file_of("forward")
    told = _told(export_network(network, forward.space, shape, path), path)
    for assembly in others:
        if assembly.decodes:
            path = folder / file_of("decode")
            context = assembly.workload.batch, assembly.workload.length
            told["decode"] = _told(export_decoder(network, forward.space, context, path), path)
    return told


def _told(parity: Parity, path: Path) -> dict[str, Any]:
    return {**parity.to_dict(), "onnx_sha256": digest(path.read_bytes())}


def export_network(network: nn.Module, space: SearchSpace, shape: tuple[int, int], path: Path) -> Parity:
    """Writes the file only when it is valid and agrees with PyTorch.

    `shape` is the workload's (batch, length). Raises VerificationError when ONNX's checker refuses the file
    or an output differs by more than TOLERANCE.
    """
    final, rounding = finalised(network).eval(), _rounding(network)
    with _checked(
        final, space.example_inputs(*shape), path, space.input_names, space.output_names, space.dynamic
    ) as draft:
        return check_parity(final, space, draft, _shapes(space, *shape), rounding)


def export_decoder(network: nn.Module, space: SearchSpace, shape: tuple[int, int], path: Path) -> Parity:
    """Writes the decode step of a language model, by the same conditions as `export_network`.

    `shape` is the batch and the context that the step is traced at.
    """
    final, rounding = finalised(network).eval(), _rounding(network)
    decoder = Decoder(final)
    batch, context = shape
    inputs = (*space.example_inputs(batch, 1), *decoder.state(batch, context))
    input_names = (*space.input_names, *_state_names("past_key_values", decoder))
    output_names = (*space.output_names, *_state_names("present", decoder))
    with _checked(decoder, inputs, path, input_names, output_names, space.dynamic) as draft:
        return check_steps(final, decoder, space, draft, ((batch, 40), (3, 7)), rounding)


def export_prefill(network: nn.Module, space: SearchSpace, shape: tuple[int, int], path: Path) -> Parity:
    """Writes a language model that gives its state away, by the same conditions as `export_network`."""
    prefill = Prefill(finalised(network)).eval()
    output_names = (*space.output_names, *_state_names("present", prefill))
    inputs = space.example_inputs(*shape)
    with _checked(prefill, inputs, path, space.input_names, output_names, space.dynamic) as draft:
        return check_parity(prefill, space, draft, _shapes(space, *shape), _rounding(network))


def _state_names(when: str, view: Decoder | Prefill) -> list[str]:
    """As Optimum names the caches of transformers: past_key_values.0.key, present.0.value."""
    blocks = enumerate(view.blocks.values())
    return [f"{when}.{number}.{name}" for number, block in blocks for name in block.state_names]


@contextmanager
def _checked(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic: Mapping[int, str],
) -> Iterator[Path]:
    """A draft of the file; it takes the file's place when nothing was found against it."""
    import onnx

    draft = path.with_name(f".{path.name}.draft")
    try:
        export_onnx(
            module, inputs, draft, dynamic=dynamic, input_names=input_names, output_names=output_names
        )
        try:
            onnx.checker.check_model(str(draft), full_check=True)
        except onnx.checker.ValidationError as error:
            raise VerificationError(f"the exported file is not valid ONNX: {error}") from None
        yield draft
        write_atomic(path, draft.read_bytes())
    finally:
        draft.unlink(missing_ok=True)


def _shapes(space: SearchSpace, batch: int, length: int) -> tuple[tuple[int, int], ...]:
    """The workload's own shape, other batches, and where the length is free, lengths that divide nothing."""
    if "length" not in space.dynamic.values():
        return tuple((other, length) for other in (batch, batch + 2, 7 if batch == 1 else 1))
    return ((batch, length), (batch + 2, length), (1, max(1, length // 3)), (3, length + 13), (2, 1))


def _rounding(network: nn.Module) -> float:
    return ROUNDING if is_quantised(network) else 0.0


def check_parity(
    network: nn.Module,
    space: SearchSpace,
    path: Path,
    shapes: Sequence[tuple[int, int]],
    rounding: float = 0.0,
) -> Parity:
    """Compares the file in ONNX Runtime with the network.

    Raises VerificationError beyond TOLERANCE and, beside that, `rounding` of the largest output.
    """
    session = _session(path)
    worst = 0.0
    for shape in shapes:
        inputs = space.example_inputs(*shape)
        place = f"batch {shape[0]}, length {shape[1]}"
        with torch.no_grad():
            outputs = network(*inputs)
        expected = outputs if isinstance(outputs, tuple) else (outputs,)
        found = _run(session, [tensor.numpy() for tensor in inputs], path, place)
        differences = [
            _difference(*pair, rounding, path, place) for pair in zip(found, expected, strict=True)
        ]
        worst = max(worst, *differences)
    return Parity(worst, tuple(shapes), rounding)


def check_steps(
    network: nn.Module,
    decoder: Decoder,
    space: SearchSpace,
    path: Path,
    shapes: Sequence[tuple[int, int]],
    rounding: float = 0.0,
) -> Parity:
    """Runs the file token by token, from no state on, and compares with the network over whole sequences."""
    session = _session(path)
    worst = 0.0
    for batch, length in shapes:
        (tokens,) = space.example_inputs(batch, length)
        with torch.no_grad():
            expected = network(tokens)
        state = [tensor.numpy() for tensor in decoder.state(batch)]
        for position in range(length):
            place = f"batch {batch}, token {position}"
            fed = [tokens[:, position : position + 1].numpy(), *state]
            output, *state = _run(session, fed, path, place)
            worst = max(worst, _difference(output[:, 0], expected[:, position], rounding, path, place))
    return Parity(worst, tuple(shapes), rounding)


def _session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _run(session: Any, inputs: Sequence[Array], path: Path, place: str) -> list[Array]:
    names = [value.name for value in session.get_inputs()]
    try:
        found: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
    except Exception as error:  # the runtime has an exception for each of its status codes
        said = " ".join(str(error).split())
        raise VerificationError(f"{path.name} does not run at {place}: {said}") from None
    return found


def _difference(found: Array, expected: Tensor, rounding: float, path: Path, place: str) -> float:
    difference = float((torch.from_numpy(found) - expected).abs().max()) if expected.numel() else 0.0
    allowed = TOLERANCE + (rounding * float(expected.abs().max()) if rounding and expected.numel() else 0.0)
    if not difference <= allowed:
        raise VerificationError(
            f"{path.name} differs from PyTorch by {difference:.2g} at {place}; at most {allowed:g} is allowed"
        )
    return difference
