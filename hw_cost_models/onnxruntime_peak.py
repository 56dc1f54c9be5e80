"""The memory of an ONNX file in ONNX Runtime on a CPU, predicted from the file alone.

The runtime's own optimiser says which operators are left, and in which order, once it has fused what it can;
`onnxruntime_plan` says which buffers they share, `onnxruntime_arena` what the arena grows to for them. Of the
networks in benchmarks/memory_accuracy.py the arena comes out to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hw_cost_models.errors import HardwareCostError
from hw_cost_models.kernels import optimised
from hw_cost_models.memory import MemoryProfile
from hw_cost_models.onnx_file import read_file
from hw_cost_models.onnx_shapes import ShapeInference, full_name
from hw_cost_models.onnxruntime_arena import Arena
from hw_cost_models.onnxruntime_plan import plan
from hw_cost_models.onnxruntime_shapes import OptimisedShapes, known_shapes
from hw_cost_models.onnxruntime_workspace import workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hw_cost_models.onnx_file import File
    from hw_cost_models.onnx_values import Value
    from hw_cost_models.onnxruntime_arena import Chunk
    from hw_cost_models.onnxruntime_plan import Step

_RUNS = 2
"""In the second run the arena is cut up otherwise than in the first, and may grow once more."""

_OPERATOR_BYTES = 5500
"""What the runtime keeps of an operator beside its weights: node, names, kernel. Between 5,000 and 7,500 more
resident bytes an operator once a file is loaded, for files of 59 to 571 operators (1.32)."""


@dataclass(frozen=True)
class RuntimeMemory(MemoryProfile):
    """The peak of a file in ONNX Runtime; activations as the plan has them, inputs apart."""

    arena_bytes: int
    """What the arena grows to: activations, and what lies idle between them. What `Measurement` calls so."""
    input_bytes: int
    """The caller's own arrays."""
    output_bytes: int
    """The caller's copies of the outputs."""
    runtime_bytes: int
    """What the runtime keeps of the graph."""
    loading_bytes: int
    """The most while the file is loaded and optimised, and its weights are packed one by one."""

    @property
    def peak_bytes(self) -> int:
        """The most at any time, over a process with an empty network.

        Weights count once. A packed weight takes the place of the one it is made from; but unless the heap
        gives back what is freed (`hw_cost_models.runtimes.heap`), up to as much again stays with the process.
        """
        return self.runtime_bytes + max(self.running_bytes, self.loading_bytes)

    @property
    def running_bytes(self) -> int:
        """The network's own, while it runs."""
        return self.weight_bytes + self.arena_bytes + self.input_bytes + self.output_bytes


def onnxruntime_memory(
    path: Path, dimensions: Mapping[str, int] | None = None, threads: int = 1
) -> RuntimeMemory:
    """The memory of one run after another, with an arena that grows as requested.

    `dimensions` are as in `read_onnx`. ONNX Runtime loads the file, to optimise it, and does not run it.
    Raises HardwareCostError for a file that it does not load, for a dimension without a value, and for
    branches and loops, whose memory is not predicted; DamagedFileError as `read_onnx` does.
    """
    given, file = read_file(path), optimised(path)
    values = _values(file, OptimisedShapes(file, dimensions or {}))
    known = known_shapes(file, values)

    def same_size(one: str, other: str) -> bool:
        shape = known[one]
        if not shape or None in shape or shape != known[other]:
            return False
        return values[one].bytes == values[other].bytes

    steps = plan(file.body, same_size)
    arena, alive, where = _simulated(steps, values, threads)
    weights = _bytes_of_weights(file)
    return RuntimeMemory(
        weight_bytes=sum(weights),
        activation_bytes=alive,
        step=where,
        operator=full_name(steps[where].node) if steps else "inputs",
        arena_bytes=arena,
        input_bytes=_bytes(values, {value.name for value in file.body.inputs}),
        output_bytes=_bytes(values, file.body.outputs),
        runtime_bytes=len(steps) * _OPERATOR_BYTES,
        loading_bytes=max(_optimising_bytes(given, file), sum(weights) + max(weights, default=0)),
    )


def _values(file: File, shapes: ShapeInference) -> dict[str, Value]:
    """Every value of the graph, with its shape in numbers."""
    values = {**shapes.inputs(), **file.body.constants}
    for node in file.body.nodes:
        if node.bodies:
            raise HardwareCostError(
                f"{file.path}: memory is not predicted for {node.operator} {node.name!r}, whose graph inside "
                "has a plan of its own; measure it with hw_cost_models.measure"
            )
        inputs = [values[name] if name else None for name in node.inputs]
        outputs = zip(node.outputs, shapes.outputs(node, inputs, file.body.declared), strict=True)
        values.update({name: value for name, value in outputs if value is not None})
    return values


def _optimising_bytes(given: File, made: File) -> int:
    """Weights, what follows from weights alone, and what the optimiser made of them.

    While it works, none of it is dropped, and of the one that it makes there are three copies beside: what it
    is worked out in, what is written into the graph, and what is kept. Of resnet50, densenet121 and
    squeezenet that comes within 5 % (1.32).
    """
    shapes, constants = ShapeInference(given, {}), dict(given.body.constants)
    for node in given.body.nodes:
        if node.inputs and not node.bodies and all(name in constants for name in node.inputs if name):
            inputs = [constants[name] if name else None for name in node.inputs]
            outputs = zip(node.outputs, shapes.outputs(node, inputs, given.body.declared), strict=True)
            constants.update({name: value for name, value in outputs if value is not None})
    new = [value.bytes for name, value in made.body.constants.items() if name not in constants]
    return sum(value.bytes for value in constants.values()) + sum(new) + 3 * max(new, default=0)


def _bytes_of_weights(file: File) -> list[int]:
    """Of each that is used."""
    used = {name for node in file.body.nodes for name in node.inputs} | {*file.body.outputs}
    return [file.body.constants[name].bytes for name in sorted(used & file.body.constants.keys())]


def _simulated(steps: Sequence[Step], values: Mapping[str, Value], threads: int) -> tuple[int, int, int]:
    """Bytes of the arena after two runs; the most that is alive, and in which step."""
    arena, peak, where = Arena(), 0, 0
    for _ in range(_RUNS):
        chunks: dict[str, Chunk] = {}
        alive = 0
        for number, step in enumerate(steps):
            for name in step.allocates:
                chunks[name] = arena.allocate(values[name].bytes)
                alive += chunks[name].bytes
            blocks = [arena.allocate(size) for size in _workspace(step, values, threads)]
            working = alive + sum(block.bytes for block in blocks)
            if working > peak:
                peak, where = working, number
            for block in blocks:
                arena.give_back(block)
            for name in step.frees:
                alive -= chunks[name].bytes
                arena.give_back(chunks.pop(name))
        for chunk in chunks.values():
            arena.give_back(chunk)
    return arena.bytes, peak, where


def _workspace(step: Step, values: Mapping[str, Value], threads: int) -> list[int]:
    inputs = [values.get(name) for name in step.node.inputs]
    outputs = [values.get(name) for name in step.node.outputs]
    return workspace(step.node, inputs, outputs, threads)


def _bytes(values: Mapping[str, Value], names: Iterable[str]) -> int:
    return sum(values[name].bytes for name in names)
