"""ModuleAdapter: a module that takes or returns other things than an option does, made to fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from search_spaces.errors import SearchSpaceError

if TYPE_CHECKING:
    from collections.abc import Sequence


class ModuleAdapter(nn.Module):
    """An option of a module that takes its inputs in other places, or returns more than a tensor.

    `inputs` says which of the choice's inputs the module is called with, by index: (0, 0, 0) gives the first
    three times; None, all in their order. `keywords` are the same at every call. `output` is what is taken of
    a tuple, by index, or of a dictionary or an object, by name; None takes the output as it is.

        ModuleAdapter(nn.LSTM(64, 64, batch_first=True), output=0)
        ModuleAdapter(nn.MultiheadAttention(64, 4, batch_first=True), inputs=(0, 0, 0), output=0)

    Calls raise SearchSpaceError for an index or a name that is not there.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Sequence[int] | None = None,
        keywords: Mapping[str, object] | None = None,
        output: int | str | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.inputs = None if inputs is None else tuple(inputs)
        self.keywords = dict(keywords or {})
        self.output = output

    def forward(self, *inputs: Tensor) -> Tensor:
        taken = inputs if self.inputs is None else self._taken(inputs)
        returned = self.module(*taken, **self.keywords)
        return self._part(returned) if self.output is not None else returned

    def _taken(self, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        assert self.inputs is not None
        if max(self.inputs) >= len(inputs):
            raise SearchSpaceError(
                f"ModuleAdapter of {type(self.module).__name__}: input {max(self.inputs)} of {len(inputs)}: "
                "they are counted from 0"
            )
        return [inputs[index] for index in self.inputs]

    def _part(self, returned: Any) -> Tensor:
        named = isinstance(self.output, str) and not isinstance(returned, Mapping)
        try:
            part: Tensor = getattr(returned, str(self.output)) if named else returned[self.output]
        except (AttributeError, IndexError, KeyError) as error:
            raise SearchSpaceError(
                f"ModuleAdapter of {type(self.module).__name__}: no output {self.output!r} in the "
                f"{type(returned).__name__}{_held(returned)} that it returns"
            ) from error
        return part


def _held(returned: Any) -> str:
    if isinstance(returned, Mapping):
        return f" of {', '.join(map(str, returned))}"
    return f" of {len(returned)}" if isinstance(returned, tuple | list) else ""
