"""Decoding: a sequence one token at a time, by the state that its blocks keep.

A block that moves information between tokens says how with three methods beside `forward`: `state(batch,
context)`, what it has to remember after that many tokens, `prefill(x)`, its forward and the state after it,
and `step(x, state)`. Everything else in a language model treats tokens one by one, so its forward over one
token is its step already: a `Decoder` is a view of an ordinary network whose stateful blocks step, and a
`Prefill` one whose stateful blocks hand out what they remember of a prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from search_spaces.choice import Choice
from search_spaces.view import view

if TYPE_CHECKING:
    from collections.abc import Sequence

State = tuple[Tensor, ...]

_FAR = 1 << 40
"""A context beyond every window: what is bounded is below its root."""


@runtime_checkable
class Stateful(Protocol):
    """A block with a decode step.

    Over a sequence, `forward`, `prefill` and steps over its tokens agree: in outputs, and in the state after.
    """

    state_names: tuple[str, ...]
    """One for each tensor of the state."""

    def state(self, batch: int, context: int = 0) -> State:
        """The state after `context` tokens, by shape: zeros, right only for a context of none."""
        ...

    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """A whole prompt, (batch, length, width) -> the same, and the state after it."""
        ...

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One more token, (batch, 1, width) -> the same, and the state after it."""
        ...


class _WithStates(nn.Module):
    """A view of a network, weights shared, in which `stand_in` stands for every stateful block.

    Choices that are left in the network stay as they are. `blocks` holds the stateful blocks by their paths,
    in the order of their states among inputs and outputs.
    """

    def __init__(self, network: nn.Module, stand_in: type[_StandIn]) -> None:
        super().__init__()
        memory = _Memory()
        blocks: dict[str, Stateful] = {}

        def instead(path: str, module: nn.Module) -> nn.Module | None:
            if isinstance(module, Choice):
                return module
            if not isinstance(module, Stateful):
                return None
            blocks[path] = module
            return stand_in(module, path, memory)

        self.network = view(network, instead)
        self.blocks = blocks
        self._memory = memory

    @property
    def state_names(self) -> list[str]:
        """`path.name` of every tensor of the state."""
        return [f"{path}.{name}" for path, block in self.blocks.items() for name in block.state_names]


class Prefill(_WithStates):
    """A view of a network, weights shared: tokens -> (output, *state after them)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, _Prefilling)

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        output: Tensor = self.network(tokens)
        return output, *self._memory.give_back(self.blocks)


class Decoder(_WithStates):
    """A view of a network, weights shared: (token, *state) -> (output, *state after it)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, _Stepping)

    def state(self, batch: int, context: int = 0) -> State:
        """What all blocks hold after `context` tokens, by shape; see `Stateful.state`."""
        return tuple(t for block in self.blocks.values() for t in block.state(batch, context))

    def free_dimensions(self) -> list[dict[int, str]]:
        """Of each input, the dimensions that an exported file leaves free, by name: batch, context, and a
        block's own windows, which are bounded, and summaries, which grow more slowly than the context.

        Found by looking at which dimensions of a block's state change with the batch and with the context.
        """
        return [
            {0: "batch"},
            *(free for path, block in self.blocks.items() for free in _free_dimensions(path, block)),
        ]

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        self._memory.hold(self.blocks, state)
        output: Tensor = self.network(token)
        return output, *self._memory.give_back(self.blocks)


def _free_dimensions(path: str, block: Stateful) -> list[dict[int, str]]:
    with FakeTensorMode(allow_non_fake_inputs=True):
        states = [block.state(*size) for size in ((1, 0), (2, 0), (1, 1), (1, 2), (1, _FAR))]
    free: list[dict[int, str]] = []
    for tensors in zip(*states, strict=True):
        none, wider, *longer = (tensor.shape for tensor in tensors)
        batch = {d: "batch" for d, size in enumerate(none) if wider[d] != size}
        growing = [d for d, size in enumerate(none) if any(shape[d] != size for shape in longer)]
        free.append({**batch, **{d: _growing_dimension(path, longer[-1][d]) for d in growing}})
    return free


def _growing_dimension(path: str, far: int) -> str:
    """The name of a dimension that is so long after `_FAR` tokens."""
    if far == _FAR:
        return "context"
    return f"{path}.window" if far < _FAR**0.5 else f"{path}.summaries"


class _Memory:
    """The states on their way past the layers, for one forward."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}

    def hold(self, blocks: dict[str, Stateful], flat: Sequence[Tensor]) -> None:
        tensors = iter(flat)
        self.states = {
            path: tuple(next(tensors) for _ in block.state_names) for path, block in blocks.items()
        }

    def give_back(self, blocks: dict[str, Stateful]) -> list[Tensor]:
        flat = [tensor for path in blocks for tensor in self.states[path]]
        self.states = {}
        return flat


class _StandIn(nn.Module):
    """What stands where a block is, and passes its state by the memory that all of them share."""

    def __init__(self, block: Stateful, path: str, memory: _Memory) -> None:
        super().__init__()
        self.block = block
        self._path = path
        self._memory = memory


class _Stepping(_StandIn):
    """In a decoder: the block steps."""

    def forward(self, x: Tensor) -> Tensor:
        y, self._memory.states[self._path] = self.block.step(x, self._memory.states[self._path])
        return y


class _Prefilling(_StandIn):
    """In a prefill: the block reads a prompt and hands out its state."""

    def forward(self, x: Tensor) -> Tensor:
        y, self._memory.states[self._path] = self.block.prefill(x)
        return y
