"""Cost: what a module costs for one workload. CostModel: anything that can say so."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


Kind = Literal["forward", "prefill", "decode"]
Unit = Literal["tokens", "pixels", "examples"]
"""What the length is counted in; of examples of one size it means nothing."""


@dataclass(frozen=True)
class Workload:
    """The inputs that a cost is for. Costs of different workloads never add up.

    A *forward* takes `length` tokens or, as `unit` says, images of so many pixels on a side, or examples of
    the one size that there is; a *prefill* takes a prompt of `length` tokens; a *decode* takes one token, and
    the state that `length` tokens before it left.
    """

    batch: int = 1
    length: int = 256
    kind: Kind = "forward"
    unit: Unit = "tokens"

    def __post_init__(self) -> None:
        if self.batch < 1 or self.length < 1:
            raise ValueError(
                f"a workload needs a positive batch and length, got {self.batch} and {self.length}"
            )

    def __str__(self) -> str:
        return f"{self.kind}, batch {self.batch}" + (f", {self.size}" if self.unit != "examples" else "")

    @property
    def size(self) -> str:
        """Of one example: `length 1,024` or `28 x 28 pixels`, or just `one example`."""
        if self.unit == "examples":
            return "one example"
        length = f"{self.length:,}"
        return f"{length} x {length} pixels" if self.unit == "pixels" else f"length {length}"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Costs of one module under one workload. `+` is execution in sequence: sums, and the larger peak."""

    latency_ms: float = 0.0
    energy_mj: float = 0.0
    """Millijoules; 0 where the device's profile says nothing of energy."""
    flops: float = 0.0
    weight_bytes: float = 0.0
    parameters: float = 0.0
    """Non-zero parameters."""
    peak_activation_bytes: float = 0.0
    """The largest sum of tensors alive at once, weights apart."""
    state_bytes: float = 0.0
    """What has to be kept between the tokens of a sequence: key-value cache, recurrent state."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            latency_ms=self.latency_ms + other.latency_ms,
            energy_mj=self.energy_mj + other.energy_mj,
            flops=self.flops + other.flops,
            weight_bytes=self.weight_bytes + other.weight_bytes,
            parameters=self.parameters + other.parameters,
            peak_activation_bytes=max(self.peak_activation_bytes, other.peak_activation_bytes),
            state_bytes=self.state_bytes + other.state_bytes,
        )

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


Item = tuple["nn.Module", tuple["Tensor", ...]]
"""A module and the inputs to price it with."""


Statistic = Literal["p10", "p50", "p95"]
"""Which percentile of single runs a latency is: the 10th is the quiet machine's, the 50th the usual one."""


class CostModel(Protocol):
    """Prices many modules in one call, because a fair measurement visits all of them in the same rounds."""

    def price(self, items: Mapping[str, Item], counted: Mapping[str, Cost] | None = None) -> dict[str, Cost]:
        """Every cost by name; the latency is the quiet machine's, p10 where it is measured.

        `counted` is what `static_cost` said of the items, where that has been asked already.
        """
        ...

    def latency_ms(self, items: Mapping[str, Item], statistic: Statistic) -> dict[str, float]:
        """The latencies alone. A model that does not measure has one for every statistic."""
        ...

    def peak_bytes(self, items: Mapping[str, Item]) -> dict[str, float]:
        """The peaks of activations alone."""
        ...
