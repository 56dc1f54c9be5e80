"""Every architecture of a space as an ONNX file, from one export of the frame and one of each option.

Exporting an architecture takes the exporter seconds, putting it together from exported parts takes
milliseconds: that is what lets a search fit its cost table to many whole architectures, and measure every
candidate. The winner itself is exported whole.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

from hw_cost_models.assembly import Marked, assemble
from hw_cost_models.files import write_atomic
from hw_cost_models.structure import structure_key
from search_spaces import (
    Architecture,
    Choice,
    Mixture,
    bind,
    capture_inputs,
    choices,
    finalised,
    parents,
    select,
    substitute,
)
from search_spaces.choice import join, module_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import onnx
    from torch import Tensor, nn

    from hw_cost_models.cost import Item
    from hw_cost_models.export_cache import ExportCache
    from nas.discretise import Decision
    from search_spaces import SearchSpace


class Assembly:
    """The options and architectures of a space as things to price, and their files, for one workload."""

    def __init__(self, space: SearchSpace, batch: int, length: int, exports: ExportCache) -> None:
        self.space, self.exports = space, exports
        self.network = space.network.eval()
        self.inputs = space.example_inputs(batch, length)
        self.choices, self.nesting = choices(self.network), parents(self.network)
        self._captured = capture_inputs(self.network, self.inputs)
        self._made: dict[str, Callable[[], onnx.ModelProto]] = {}

    @property
    def decisions(self) -> list[Decision]:
        """Every option of every choice."""
        return [(path, option) for path, choice in self.choices.items() for option in choice.options]

    def option(self, decision: Decision) -> Item:
        """One option as it ships; choices nested in it take their first option."""
        path, name = decision
        inner = Mixture.of(self.first_inside(decision))
        module = finalised(bind(self.choices[path].option(name), inner, join(path, module_name(name))))
        return self._item(module, self._captured[path], partial(self._option_model, decision))

    def whole(self, architecture: Architecture) -> Item:
        """An architecture as it ships, with the weights of the supernet."""
        module = finalised(select(self.network, architecture))
        return self._item(module, self.inputs, partial(self.model, architecture))

    def model(self, architecture: Architecture) -> onnx.ModelProto:
        """The architecture's network, with weights from when its parts were first exported."""
        return assemble(self._models["frame"], self._filled(architecture, None))

    def export(self, items: Mapping[str, Item], folder: Path) -> dict[str, Path]:
        """Writes a file for each item, by structure key: assembled where the item came from here."""
        others = {key: item for key, item in items.items() if key not in self._made}
        models = {key: self._made[key]() for key in items if key in self._made} | self.exports.models(others)
        files = {key: folder / f"{number}.onnx" for number, key in enumerate(items)}
        for key, path in files.items():
            write_atomic(path, models[key].SerializeToString())
        return files

    def first_inside(self, decision: Decision) -> Architecture:
        """The choices reached inside an option when each of them takes its first option."""
        taken: dict[str, str] = {}
        for path, choice in self.choices.items():
            outer = self.nesting[path]
            if outer is not None and (outer == decision or taken.get(outer[0]) == outer[1]):
                taken[path] = choice.options[0]
        return Architecture(taken)

    def _item(
        self, module: nn.Module, inputs: tuple[Tensor, ...], make: Callable[[], onnx.ModelProto]
    ) -> Item:
        self._made[structure_key(module, inputs)] = make
        return module, inputs

    def _option_model(self, decision: Decision) -> onnx.ModelProto:
        filled = self._filled(self.first_inside(decision), decision)
        return assemble(self._models[self._parts[decision]], filled)

    def _filled(self, architecture: Mapping[str, str], outer: Decision | None) -> dict[str, onnx.ModelProto]:
        """What stands at the places directly inside `outer`, each with its own places filled."""
        here = [(path, option) for path, option in architecture.items() if self.nesting[path] == outer]
        return {
            decision[0]: assemble(self._models[self._parts[decision]], self._filled(architecture, decision))
            for decision in here
        }

    @cached_property
    def _marked(self) -> dict[Decision, Item]:
        """Options with marks where choices are nested in them."""
        return {
            (path, name): (
                substitute(finalised(self.choices[path].option(name)), _place, join(path, module_name(name))),
                self._captured[path],
            )
            for path, name in self.decisions
        }

    @cached_property
    def _parts(self) -> dict[Decision, str]:
        return {decision: structure_key(*item) for decision, item in self._marked.items()}

    @cached_property
    def _models(self) -> dict[str, onnx.ModelProto]:
        """The frame and the parts by structure key, exported in one pass where they were not kept."""
        frame = substitute(self.network, _place), self.inputs
        items = {self._parts[decision]: item for decision, item in self._marked.items()}
        models = self.exports.models({**items, structure_key(*frame): frame})
        return {**models, "frame": models[structure_key(*frame)]}


def _place(path: str, choice: Choice) -> nn.Module:
    """A place for the options of a choice; the smallest of them stands in while the frame is exported."""
    options = [choice.option(name) for name in choice.options]
    smallest = min(options, key=lambda option: sum(p.numel() for p in option.parameters()))
    return Marked(path, finalised(smallest))
