"""A mixture of experts: each token goes through the few of many feed-forward blocks that its router picks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.auxiliary import listening, report
from search_spaces.blocks.feedforward import SwiGLU
from search_spaces.errors import SearchSpaceError


class MixtureOfExperts(nn.Module):
    """The `active` best of `experts` SwiGLUs, weighted by their renormalised router probabilities.

    (batch, length, width) -> the same. Causal, since each token is routed on its own, and dropless, since a
    capacity limit would make a token's output depend on its batch-mates. Shazeer et al. 2017,
    arXiv:1701.06538; the weights as in Mixtral, Jiang et al. 2024, arXiv:2401.04088, section 2.1.

    In training it reports `balance` times the load-balancing loss to `search_spaces.auxiliary`.
    Raises SearchSpaceError unless 1 <= active <= experts.
    """

    def __init__(self, width: int, hidden: int, experts: int, active: int, balance: float = 0.01) -> None:
        super().__init__()
        if not 1 <= active <= experts:
            raise SearchSpaceError(f"{active} active of {experts} experts: need 1 <= active <= experts")
        self.active = active
        self.balance = balance
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(SwiGLU(width, hidden) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        probabilities = self.router(tokens).softmax(dim=-1)
        top, chosen = probabilities.topk(self.active, dim=-1)
        if listening():
            report(self.balance * load_balancing_loss(probabilities, chosen))
        gates = top / top.sum(dim=-1, keepdim=True)
        mixed = torch.zeros_like(tokens)
        for index, expert in enumerate(self.experts):
            rows, rank = torch.where(chosen == index)
            output = expert(tokens.index_select(0, rows)) * gates[rows, rank, None]
            mixed = mixed.index_add(0, rows, output)
        return mixed.view_as(x)


def load_balancing_loss(probabilities: Tensor, chosen: Tensor) -> Tensor:
    """experts · Σ f_i P_i: one when the load is even, up to the number of experts when one takes all.

    f_i is the fraction of assignments that expert i gets, P_i its mean router probability; the gradient flows
    through P alone. Fedus et al. 2021, "Switch Transformers", arXiv:2101.03961, eq. 4–6, here over the
    top-k assignments, since GShard's routing (Lepikhin et al. 2020, arXiv:2006.16668) picks more than one.

    probabilities: (tokens, experts); chosen: (tokens, active) expert indices.
    """
    experts = probabilities.shape[-1]
    fraction = torch.bincount(chosen.flatten(), minlength=experts) / chosen.numel()
    return experts * (fraction * probabilities.mean(dim=0)).sum()
