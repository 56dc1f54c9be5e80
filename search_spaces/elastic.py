"""Elastic blocks: options that are slices of one weight.

    block = MLP(64, 256)
    Choice({"1x": Slice(block, hidden=64), "2x": Slice(block, hidden=128), "4x": block})

holds the weights of `block` alone. An option that runs by itself multiplies by its slice of them and nothing
else. Several that run at once are one forward of the whole block under a mask,

    out(m · hidden(x)),   m_j = sum of the weights of the widths beyond j,

which for a hidden width is the weighted sum of all outputs: channel masking, Wan et al. 2020, "FBNetV2",
arXiv:2004.05565, section 3.1. Here the mask scales weights in place of activations, which is the same and
takes no longer on more tokens. Its gradient comes from the activations (`Heard`), so that a step which asks
for that of the mixture alone computes none of the weights.

Slices are the first units, as in slimmable networks (Yu et al. 2019, arXiv:1812.08928). What is selected is a
plain module with weights of its own.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from search_spaces.auxiliary import collect_loads, listening, report_load
from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Sizes = Mapping[str, int]

M = TypeVar("M", bound=nn.Module)

_NOTHING = 1e-20


@runtime_checkable
class Elastic(Protocol):
    """A block of which a part is a block of the same class. Both parts share its weights, gradients included.

    Under a one-hot mixture `masked` computes what `sliced` does. With the tools of this module:

        class MLP(nn.Module):  # up and down are linear layers
            def sizes(self):
                return {"hidden": self.up.out_features}

            def sliced(self, sizes):
                first = sizes["hidden"]
                up = reweighted(self.up, rows=lambda weight: weight[:first])
                down = reweighted(self.down, columns=lambda weight: weight[:, :first])
                return altered(self, up=up, down=down)

            def masked(self, sizes, shares):
                return altered(self, down=masked(self.down, [part["hidden"] for part in sizes], shares))
    """

    def sizes(self) -> Sizes:
        """How large it is in everything that can be made smaller, by name."""
        ...

    def sliced(self, sizes: Sizes) -> nn.Module:
        """The part of these sizes, one for each name. Raises SearchSpaceError where they do not fit."""
        ...

    def masked(self, sizes: Sequence[Sizes], shares: Tensor) -> nn.Module:
        """The whole block as a mixture of parts; `shares`, of shape (parts,), add up to one."""
        ...


class Slice:
    """As an option of a `Choice`: a part of another of its options, `Slice(block, hidden=64)`.

    What is not named stays whole. Raises SearchSpaceError for a block that has no parts or none of that size.
    """

    def __init__(self, block: nn.Module, **sizes: int) -> None:
        whole, kind = elastic(block).sizes(), type(block).__name__
        for name, size in sizes.items():
            if name not in whole:
                raise SearchSpaceError(f"{kind} has no {name!r} to slice, but {', '.join(whole)}")
            if not 1 <= size <= whole[name]:
                raise SearchSpaceError(f"a slice of {kind} takes 1 to {whole[name]} {name}, got {size}")
        self.block = block
        self.sizes = {**whole, **sizes}
        with torch.enable_grad():
            _check_shared(block, elastic(block).sliced(self.sizes))


def _check_shared(block: nn.Module, part: nn.Module) -> None:
    """Raises SearchSpaceError for a part with weights that training the part would not train in the block."""
    own = {id(parameter) for parameter in block.parameters()}
    trained = any(parameter.requires_grad for parameter in block.parameters())
    for name, tensor in part.named_parameters():
        loose = id(tensor) not in own and (isinstance(tensor, nn.Parameter) or not tensor.requires_grad)
        if trained and loose:
            raise SearchSpaceError(
                f"a slice of {type(block).__name__} has a {name!r} of its own, which does not train the "
                "block's: put a view of the block's parameter there, as search_spaces.elastic.reweighted does"
            )


Option: TypeAlias = nn.Module | Slice
"""What may stand in a `Choice`."""


def elastic(block: nn.Module) -> Elastic:
    """The block itself. Raises SearchSpaceError where it cannot be sliced."""
    if not isinstance(block, Elastic):
        raise SearchSpaceError(
            f"{type(block).__name__} cannot be sliced: it lacks `sizes`, `sliced` and `masked` "
            "of search_spaces.elastic.Elastic"
        )
    return block


class Sliced(nn.Module):
    """A part of a block in a view: sliced at every call, so that it is always the block's current weights.

    A copy of it is the plain module.
    """

    def __init__(self, block: nn.Module, sizes: Sizes) -> None:
        super().__init__()
        self.block = block
        self.sizes = dict(sizes)

    def forward(self, *inputs: Tensor) -> Tensor:
        return _run(elastic(self.block).sliced(self.sizes), self.block, inputs)

    def __deepcopy__(self, memo: dict[int, object]) -> nn.Module:
        part, shared = elastic(self.block).sliced(self.sizes), set(self.block.modules())
        for module in part.modules():
            if module not in shared:
                _own(module)
        return copy.deepcopy(part, memo)


class Masked(nn.Module):
    """The weighted sum of several parts of a block, in one forward; None is a weight of one."""

    def __init__(self, block: nn.Module, sizes: Sequence[Sizes], weights: Sequence[Tensor | None]) -> None:
        super().__init__()
        self.block = block
        self.sizes = [{**elastic(block).sizes(), **part} for part in sizes]
        self.weights = tuple(weights)

    def forward(self, *inputs: Tensor) -> Tensor:
        like = next(self.block.parameters())
        weights = torch.stack([like.new_ones(()) if w is None else w.to(like) for w in self.weights])
        total = weights.sum()
        nothing = total == 0
        shares = torch.where(nothing, 1 / len(weights), weights / total.masked_fill(nothing, 1.0))
        return total * _run(elastic(self.block).masked(self.sizes, shares), self.block, inputs)


def _run(made: nn.Module, block: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """What was made of a block's weights; loads are told as the block's own, for who knows its routers."""
    if not listening():
        y: Tensor = made(*inputs)
        return y
    with collect_loads() as loads:
        y = made(*inputs)
    paths = {module: path for path, module in made.named_modules()}
    for load in loads:
        report_load(load._replace(router=block.get_submodule(paths[load.router])))
    return y


def _own(module: nn.Module) -> None:
    """Gives a freshly made module parameters and buffers of its own, in place of parts of another's."""
    for name, tensor in module._parameters.items():
        if tensor is not None and not isinstance(tensor, nn.Parameter):
            module._parameters[name] = nn.Parameter(tensor.detach().clone(), tensor.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else buffer.clone()


def altered(module: M, **parts: object) -> M:
    """A shallow twin in which these parameters, buffers, submodules or attributes are others.

    A tensor may stand where a parameter was; what is not named is shared.
    """
    twin = copy.copy(module)
    for kind in ("_parameters", "_buffers", "_modules"):
        vars(twin)[kind] = {name: parts.pop(name, held) for name, held in vars(module)[kind].items()}
    vars(twin).update(parts)
    return twin


def reweighted(
    linear: nn.Linear,
    rows: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    columns: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> nn.Linear:
    """A twin of a linear layer with other rows (outputs, with their bias) or columns (inputs)."""
    weight = columns(rows(linear.weight))
    bias = None if linear.bias is None else rows(linear.bias)
    outputs, inputs = weight.shape
    return altered(linear, weight=weight, bias=bias, in_features=inputs, out_features=outputs)


def mask(widths: Sequence[int], shares: Tensor, whole: int) -> Tensor:
    """The mask of a mixture of widths: the sum of the shares of those beyond each unit. Shape (whole,)."""
    beyond = torch.arange(whole, device=shares.device)[:, None] < torch.tensor(widths, device=shares.device)
    return beyond.to(shares) @ shares


def masked(linear: nn.Linear, widths: Sequence[int], shares: Tensor, each: int = 1) -> nn.Module:
    """A linear layer under the mask of a mixture of widths; a unit of width is `each` inputs."""
    whole = linear.in_features // each
    if min(widths) == whole:
        return linear
    heard = Heard(mask(widths, shares, whole).repeat_interleave(each))
    return nn.Sequential(heard, reweighted(linear, columns=lambda t: t * heard.mask))


class Heard(nn.Module):
    """The inputs of a layer whose weight is scaled by `mask`, which is constant there and learns here.

    Where y = (w mask) x, the gradient of the mask is that of x times x over the mask, summed over all but
    dimension `dim`, the inputs. The mask is kept from zero, where that is undefined, by less than rounding.
    """

    def __init__(self, mask: Tensor, dim: int = -1) -> None:
        super().__init__()
        self._learning = mask.clamp(min=_NOTHING)
        self.mask = self._learning.detach()
        self._dim = dim

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Hearing.apply(x, self._learning, self._dim)  # type: ignore[no-untyped-call]
        return y


class _Hearing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, dim: int) -> Tensor:
        ctx.save_for_backward(x, mask)
        ctx.dim = dim
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, mask = ctx.saved_tensors
        if not ctx.needs_input_grad[1]:
            return gradient, None, None
        others = [d for d in range(x.dim()) if d != ctx.dim % x.dim()]
        return gradient, (gradient * x).sum(others) / mask, None
