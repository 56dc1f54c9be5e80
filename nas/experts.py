"""Where the tokens went: what a step of the trajectory tells of the routers that ran in it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from search_spaces.auxiliary import collect_loads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from search_spaces.auxiliary import Load

EXPERTS_EVERY = 5


@contextmanager
def watch_experts(network: nn.Module, step: int) -> Iterator[dict[str, object]]:
    """A part of the step's record, complete when the `with` block ends.

    In every fifth step in which a router ran, `experts`: the path of each such router in the network → the
    fraction of assignments that each of its experts got; what lacks to one went to null experts. Otherwise
    nothing.
    """
    told: dict[str, object] = {}
    if step % EXPERTS_EVERY:
        yield told
        return
    with collect_loads() as loads:
        yield told
    if loads:
        told["experts"] = _by_path(network, loads)


def _by_path(network: nn.Module, loads: Sequence[Load]) -> dict[str, list[float]]:
    """Of a router that ran at several places the mean."""
    shares: dict[nn.Module, list[torch.Tensor]] = {}
    for router, share in loads:
        shares.setdefault(router, []).append(share)
    return {
        path: [round(share, 6) for share in torch.stack(shares[module]).mean(dim=0).tolist()]
        for path, module in network.named_modules()
        if module in shares
    }
