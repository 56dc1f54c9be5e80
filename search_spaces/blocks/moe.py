"""A mixture of experts: each token goes through the few of many feed-forward blocks that its router picks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search_spaces.auxiliary import Load, listening, report, report_load
from search_spaces.blocks.feedforward import SwiGLU
from search_spaces.elastic import altered, elastic, mask, reweighted
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces.elastic import Sizes


class MixtureOfExperts(nn.Module):
    """The `active` best of `experts` SwiGLUs, weighted by their renormalised router probabilities.

    (batch, length, width) -> the same. Causal, since each token is routed on its own, and dropless, since a
    capacity limit would make a token's output depend on its batch-mates. Shazeer et al. 2017,
    arXiv:1701.06538; the weights as in Mixtral, Jiang et al. 2024, arXiv:2401.04088, section 2.1.

    `shared` experts see every token, beside the routed ones: DeepSeekMoE, Dai et al. 2024, arXiv:2401.06066,
    eq. 9 to 11, where many narrow experts stand for few wide ones; the weights are renormalised here, too.
    `null` experts are picked like the others, return zero and cost nothing, so that a token takes as few
    experts as it needs, or none: AdaMoE, Zeng et al. 2024, arXiv:2406.13233. Their weight is not handed to
    the others, as in MoE++ (Jin et al. 2024, arXiv:2410.07348, the zero expert): so the task's own loss
    teaches the router whom to let skip. (With `active` of one a weight is one, and it does not.)

    To whoever listens it reports to `search_spaces.auxiliary` its load, and as one loss `balance` times the
    load-balancing loss plus `z_loss` times the router z-loss, for which its paper takes 0.001.
    Elastic in `experts`, of which a slice has the first and all null ones, and in their `hidden` width.
    Raises SearchSpaceError unless 1 <= active <= experts + null, of one expert or more.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        experts: int,
        active: int,
        balance: float = 0.01,
        z_loss: float = 0.0,
        shared: int = 0,
        null: int = 0,
    ) -> None:
        super().__init__()
        _check(experts, active, shared, null)
        self.active, self.null = active, null
        self.balance, self.z_loss = balance, z_loss
        self.router = nn.Linear(width, experts + null, bias=False)
        self.experts = nn.ModuleList(SwiGLU(width, hidden) for _ in range(experts))
        self.shared = SwiGLU(width, shared * hidden) if shared else None
        """The shared experts side by side: the sum of their outputs is that of one as wide as all."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        scores = self.router(tokens)
        probabilities = scores.softmax(dim=-1)
        top, chosen = probabilities.topk(self.active, dim=-1)
        if listening():
            self._tell(scores, probabilities, chosen)
        gates = top / top.sum(dim=-1, keepdim=True)
        mixed = torch.zeros_like(tokens) if self.shared is None else self.shared(tokens)
        for index, expert in enumerate(self.experts):
            rows, rank = torch.where(chosen == index)
            output = expert(tokens.index_select(0, rows)) * gates[rows, rank, None]
            mixed = mixed.index_add(0, rows, output)
        return mixed.view_as(x)

    def _tell(self, scores: Tensor, probabilities: Tensor, chosen: Tensor) -> None:
        shares = shares_of(chosen, probabilities.shape[-1])
        report_load(Load(self.router, shares[: len(self.experts)]))
        balance = load_balancing_loss(probabilities, shares, self.null)
        report(self.balance * balance + self.z_loss * router_z_loss(scores))

    def sizes(self) -> Sizes:
        return {"experts": len(self.experts), **elastic(self.experts[0]).sizes()}

    def sliced(self, sizes: Sizes) -> MixtureOfExperts:
        experts, whole = sizes["experts"], len(self.experts)
        _check(experts, self.active, 0, self.null)
        return self._with(
            reweighted(self.router, rows=lambda t: torch.cat((t[:experts], t[whole:]))),
            [elastic(expert).sliced(sizes) for expert in self.experts[:experts]],
            self.shared and self.shared.sliced(self._side_by_side(sizes)),
        )

    def masked(self, sizes: Sequence[Sizes], shares: Tensor) -> MixtureOfExperts:
        """Exact for widths alone. Numbers are mixed in the router, where the probability of an expert is
        multiplied by the shares of the parts that have it."""
        present = mask([s["experts"] for s in sizes], shares, len(self.experts))
        prior = torch.cat((present, present.new_ones(self.null)))
        part = self._with(
            altered(self.router, bias=prior.clamp(min=torch.finfo(prior.dtype).tiny).log()),
            [elastic(expert).masked(sizes, shares) for expert in self.experts],
            self.shared and self.shared.masked([self._side_by_side(s) for s in sizes], shares),
        )
        return altered(
            part, balance=self.balance * prior.mean()
        )  # of as many experts as there are in the mean

    def _with(
        self, router: nn.Linear, experts: Sequence[nn.Module], shared: nn.Module | None
    ) -> MixtureOfExperts:
        kept = nn.ModuleList(experts)
        kept.training = self.training
        return altered(self, router=router, experts=kept, shared=shared)

    def _side_by_side(self, sizes: Sizes) -> Sizes:
        """The sizes of the shared experts as one."""
        assert self.shared is not None
        return {"hidden": sizes["hidden"] * self.shared.sizes()["hidden"] // self.sizes()["hidden"]}


def shares_of(chosen: Tensor, experts: int) -> Tensor:
    """The fraction of assignments that each expert gets, shape (experts,); chosen: (tokens, active)."""
    return torch.bincount(chosen.flatten(), minlength=experts) / chosen.numel()


def load_balancing_loss(probabilities: Tensor, shares: Tensor, null: int = 0) -> Tensor:
    """experts · Σ f_i P_i: one when the load is even, up to the number of experts when one takes all.

    f_i is the fraction of assignments that expert i gets, P_i its mean router probability; the gradient flows
    through P alone. Fedus et al. 2021, "Switch Transformers", arXiv:2101.03961, eq. 4–6, here over the
    top-k assignments, since GShard's routing (Lepikhin et al. 2020, arXiv:2006.16668) picks more than one.

    The last `null` experts are as good as one another, so each is taken to have their mean load: only their
    sum is balanced against the others. AdaMoE, Zeng et al. 2024, arXiv:2406.13233.

    probabilities: (tokens, experts); shares: (experts,); null experts included in both.
    """
    experts = len(shares)
    if null:
        real, nulls = shares[:-null], shares[-null:]
        shares = torch.cat((real, nulls.mean().expand(null)))
    return experts * (shares * probabilities.mean(dim=0)).sum()


def router_z_loss(scores: Tensor) -> Tensor:
    """The mean over tokens of (log Σ exp score)²: keeps the router's scores small, and its softmax exact.

    Zoph et al. 2022, "ST-MoE", arXiv:2202.08906, eq. 5. scores: (tokens, experts), before the softmax.
    """
    return scores.logsumexp(dim=-1).square().mean()


def _check(experts: int, active: int, shared: int, null: int) -> None:
    if min(experts - 1, shared, null) < 0:
        raise SearchSpaceError(
            f"{experts} experts, {shared} shared and {null} null: need one expert, and no fewer than none"
        )
    if not 1 <= active <= experts + null:
        among = f"{experts} experts" + (f" and {null} null ones" if null else "")
        raise SearchSpaceError(f"{active} active of {among}: need 1 <= active <= {experts + null}")
