"""A loop of steps that can be killed at any moment: the one shape of all training here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nas.errors import DivergedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import Tensor, nn

    from nas.progress import Progress
    from nas.run import Run

SECONDS_BETWEEN_CHECKPOINTS = 15.0


@dataclass(frozen=True)
class State:
    """Everything that a loop carries from one step to the next."""

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    generator: torch.Generator
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Changed in place, such as dual variables."""

    def save(self) -> dict[str, Tensor]:
        saved = {f"tensor/{name}": tensor for name, tensor in self.tensors.items()}
        saved["generator"] = self.generator.get_state()
        for name, module in self.modules.items():
            values = module.state_dict()
            saved |= {f"module/{name}/{key}": values[key] for key in dict.fromkeys(_names(module).values())}
        for name, optimizer in self.optimizers.items():
            for index, moments in optimizer.state_dict()["state"].items():
                saved |= {f"optimizer/{name}/{index}/{key}": value for key, value in moments.items()}
        return saved

    def load(self, saved: Mapping[str, Tensor]) -> None:
        self.generator.set_state(saved["generator"])
        for name, tensor in self.tensors.items():
            tensor.copy_(saved[f"tensor/{name}"])
        for name, module in self.modules.items():
            values = _below(saved, f"module/{name}/")
            module.load_state_dict({key: values[first] for key, first in _names(module).items()})
        for name, optimizer in self.optimizers.items():
            moments: dict[int, dict[str, Tensor]] = {}
            for key, value in _below(saved, f"optimizer/{name}/").items():
                index, moment = key.split("/", 1)
                moments.setdefault(int(index), {})[moment] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _names(module: nn.Module) -> dict[str, str]:
    """By each name of its state the first of the same tensor: what stands in several places is kept once."""
    first: dict[int, str] = {}
    return {key: first.setdefault(id(value), key) for key, value in module.state_dict(keep_vars=True).items()}


def _below(saved: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in saved.items() if key.startswith(prefix)}


def run_loop(
    run: Run,
    loop: str,
    steps: int,
    state: State,
    step: Callable[[int], Mapping[str, Any]],
    progress: Progress,
) -> None:
    """Calls `step(i)` for every i that the run has not done yet and records what it returns.

    Raises DivergedError with the loop, the step and the cause when a loss is not finite.
    """
    checkpoint = run.load_checkpoint(loop)
    done = 0
    if checkpoint is not None:
        state.load(checkpoint.tensors)
        done = checkpoint.step
    run.rewind(loop, done)
    saved_at = time.monotonic()
    progress.start(steps, done)
    for i in range(done, steps):
        try:
            record = step(i)
        except DivergedError as error:
            raise DivergedError(
                f"{loop}, step {i}: {error}; the last good checkpoint is step {done}"
            ) from None
        run.record(loop, {"step": i, **record})
        progress.advance()
        if i + 1 == steps or time.monotonic() - saved_at > SECONDS_BETWEEN_CHECKPOINTS:
            run.save_checkpoint(loop, i + 1, state.save())
            done, saved_at = i + 1, time.monotonic()
