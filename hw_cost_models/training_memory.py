"""What training takes: weights, gradients, the optimiser's state, activations kept for the backward.

One step is run, without data, as it would be (see `hw_cost_models.live_bytes`): forward, loss, backward,
optimiser, gradients dropped. What is alive is watched throughout, so that the parts need no formula: autograd
keeps what it keeps, an optimiser makes the state that it makes, a checkpointed block is run again.

    peak = weights + max(state + most alive from forward to backward, most alive while the optimiser runs)

where the gradients come in one by one while the activations go. Chen et al. 2016, "Training deep nets with
sublinear memory cost", arXiv:1604.06174, is the source of checkpointing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from hw_cost_models.eager_peak import weight_bytes
from hw_cost_models.errors import HardwareCostError
from hw_cost_models.live_bytes import watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hw_cost_models.live_bytes import LiveBytes

Loss = Callable[[Any], Tensor]
"""What the module returns -> a scalar."""

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one training step, once the optimiser has its state: from the second step on."""

    weight_bytes: int
    """Parameters and buffers."""
    input_bytes: int
    gradient_bytes: int
    """All of them, as they are when the optimiser runs."""
    optimizer_bytes: int
    """Its state: nothing for plain SGD, the weights once for momentum, twice for Adam."""
    saved_bytes: int
    """What is alive between forward and backward beside weights, inputs and state: activations and loss."""
    peak_bytes: int
    """The most that is alive together at any time; less than the sum of all parts and what comes and goes."""
    peak_operator: str
    """During which operator that is."""


def training_memory(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    loss: Loss | None = None,
    optimizer: MakeOptimizer = torch.optim.AdamW,
    checkpointed: Sequence[str] = (),
) -> TrainingMemory:
    """The memory of one training step on a CPU, in a fraction of a second where no shape depends on data.

    `loss` makes a scalar of what the module returns, by default the mean of its squares, whose gradient is as
    large as the output. `optimizer` makes the optimiser of the parameters that are trained. `checkpointed`
    names submodules that keep nothing but their inputs for the backward and run again there. Neither the
    module nor its gradients are touched.

    Raises HardwareCostError for a submodule that is not there, for a loss that no parameter leads to, and for
    inputs that the module does not take.
    """
    parts = dict(module.named_modules())
    if missing := [name for name in checkpointed if name not in parts]:
        raise HardwareCostError(
            f"{type(module).__name__} has no submodule {missing[0]!r} to checkpoint; "
            "its named_modules() lists them"
        )
    step = _Step(loss or _mean_square, optimizer, checkpointed)
    watch(step, module, inputs)
    assert step.memory is not None
    return step.memory


class _Step:
    """One training step, in phases that are accounted for apart."""

    def __init__(self, loss: Loss, optimizer: MakeOptimizer, checkpointed: Sequence[str]) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self.checkpointed = checkpointed
        self.memory: TrainingMemory | None = None

    def __call__(self, live: LiveBytes, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        module.train()
        for name in self.checkpointed:
            part = module.get_submodule(name)
            part.forward = partial(checkpoint, part.forward, use_reentrant=False)
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        optimizer = self.optimizer(trained)
        arrived = live.bytes
        value = self.loss(module(*inputs))
        saved = live.bytes - arrived
        if not value.requires_grad:
            raise HardwareCostError(
                "the loss depends on no parameter that is trained; give one that does, or unfreeze some"
            )
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        passes, passing = live.peak_bytes, live.peak_operator
        live.forget_peak()
        before = live.bytes
        optimizer.step()
        state = live.bytes - before
        weights, updating = weight_bytes(module), live.peak_bytes
        self.memory = TrainingMemory(
            weight_bytes=weights,
            input_bytes=arrived,
            gradient_bytes=sum(p.grad.untyped_storage().nbytes() for p in trained if p.grad is not None),
            optimizer_bytes=state,
            saved_bytes=saved,
            peak_bytes=weights + max(state + passes, updating),
            peak_operator=passing if state + passes >= updating else live.peak_operator,
        )


def _mean_square(outputs: Any) -> Tensor:
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return sum((leaf.square().mean() for leaf in leaves), start=torch.zeros(()))
