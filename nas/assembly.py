"""Every architecture of a space as an ONNX file, from one export of the frame and one of each option.

Exporting an architecture takes the exporter seconds, putting it together from exported parts takes
milliseconds: that is what lets a search fit its cost table to many whole architectures, and measure every
candidate. The winner itself is exported whole.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property, partial
from itertools import product
from typing import TYPE_CHECKING

from hw_cost_models.assembly import Marked, assemble
from hw_cost_models.errors import ExportError
from hw_cost_models.files import write_atomic
from hw_cost_models.structure import structure_key
from nas.errors import BadInputError
from search_spaces import (
    Architecture,
    Choice,
    Decoder,
    Mixture,
    SearchSpaceError,
    Stateful,
    bind,
    capture_inputs,
    choices,
    finalised,
    parents,
    substitute,
)
from search_spaces.choice import join, module_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
    from pathlib import Path

    import onnx
    from torch import Tensor, nn

    from hw_cost_models.cost import Item, Workload
    from hw_cost_models.export_cache import ExportCache
    from nas.discretise import Decision
    from search_spaces import SearchSpace


class Assembly:
    """The options and architectures of a space as things to price, and their files, for one workload.

    Where the workload is a decode, everything takes one token, and the state that the context left as inputs
    beside it. Raises BadInputError where no option keeps a state.
    """

    def __init__(self, space: SearchSpace, workload: Workload, exports: ExportCache) -> None:
        self.space, self.workload, self.exports = space, workload, exports
        self.network = space.network.eval()
        self.decodes = workload.kind == "decode"
        if self.decodes and not any(isinstance(part, Stateful) for part in self.network.modules()):
            raise BadInputError(f"space {space.name!r} has no decode step: none of its blocks keeps a state")
        self.inputs = space.example_inputs(workload.batch, 1 if self.decodes else workload.length)
        self._captured = capture_inputs(self.network, self.inputs)
        found, nesting = choices(self.network), parents(self.network)
        self.choices = {path: found[path] for path in self._captured}  # as data passes them
        self.nesting = {path: nesting[path] for path in self._captured}
        self._made: dict[str, Callable[[], onnx.ModelProto]] = {}

    @property
    def decisions(self) -> list[Decision]:
        """Every option of every choice."""
        return [(path, option) for path, choice in self.choices.items() for option in choice.options]

    def is_choice(self, decision: Decision) -> bool:
        """Whether the option is a choice itself, with nothing around it."""
        path, name = decision
        return isinstance(self.choices[path].option(name), Choice)

    def option(self, decision: Decision, inside: Architecture | None = None) -> Item:
        """One option as it ships, with this inside; else choices nested in it take their first option."""
        inside = self.first_inside(decision) if inside is None else inside
        item = self._running(self._taken(decision, inside), self._captured[decision[0]])
        self._made[structure_key(*item)] = partial(self._model_of, decision, inside)
        return item

    def whole(self, architecture: Architecture) -> Item:
        """An architecture as it ships, with the weights of the supernet."""
        item = self.running(finalised(bind(self.network, Mixture.of(architecture))))
        self._made[structure_key(*item)] = partial(self.model, architecture)
        return item

    def running(self, network: nn.Module) -> Item:
        """A whole network with what it runs on in this workload."""
        return self._running(network, self.inputs)

    def state_bytes(self, item: Item) -> int:
        """What of the item's inputs is state."""
        module, inputs = item
        state = inputs[-len(module.state_names) :] if isinstance(module, Decoder) else ()
        return sum(tensor.numel() * tensor.element_size() for tensor in state)

    def model(self, architecture: Architecture) -> onnx.ModelProto:
        """The architecture's network, with weights from when its parts were first exported."""
        network = finalised(bind(self.network, Mixture.of(architecture)))
        frame = self._models[self._frames[self._inlined(architecture)]]
        return self._put_together(frame, self._filled(architecture, None), network, "")

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

    def _taken(self, decision: Decision, inside: Architecture) -> nn.Module:
        """An option as it ships, with what stands inside it."""
        path, name = decision
        option = bind(self.choices[path].option(name), Mixture.of(inside), join(path, module_name(name)))
        return finalised(option)

    def _running(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Item:
        """As it is, or where it keeps a state and the workload is a decode, stepping."""
        if not self.decodes:
            return module, inputs
        decoder = Decoder(module)
        state = decoder.state(self.workload.batch, self.workload.length)
        return (decoder, (*inputs, *state)) if state else (module, inputs)

    def _model_of(self, decision: Decision, architecture: Architecture) -> onnx.ModelProto:
        """An option with what the architecture takes inside it."""
        filled = self._filled(architecture, decision)
        if self.is_choice(decision):
            (inner,) = filled.values()
            return inner
        path, name = decision
        part = self._models[self._parts[decision]]
        return self._put_together(
            part, filled, self._taken(decision, architecture), join(path, module_name(name))
        )

    def _filled(self, architecture: Architecture, outer: Decision | None) -> dict[str, onnx.ModelProto]:
        """What stands at the places directly inside `outer`, each with its own places filled.

        Outside of all options that is the frame, of which inlined options are a part.
        """
        outers = (outer,) if outer else (None, *self._inlined(architecture))
        return {
            path: self._model_of((path, option), architecture)
            for path, option in architecture.items()
            if self.nesting[path] in outers and path not in self._inline
        }

    def _put_together(
        self, frame: onnx.ModelProto, filled: Mapping[str, onnx.ModelProto], module: nn.Module, prefix: str
    ) -> onnx.ModelProto:
        """The frame with its places filled; `module` is the same as a module, `prefix` the path of it."""
        whole = assemble(frame, filled)
        if self.decodes and filled:
            _order_states(whole, len(frame.graph.input), Decoder(module), prefix, tuple(filled))
        return whole

    @cached_property
    def _marked(self) -> dict[Decision, Item]:
        """Options with marks where choices are nested in them."""
        return {
            (path, name): self._with_places(
                finalised(self.choices[path].option(name)),
                self._captured[path],
                join(path, module_name(name)),
            )
            for path, name in self.decisions
            if not self.is_choice((path, name))
        }

    def _with_places(
        self, module: nn.Module, inputs: tuple[Tensor, ...], prefix: str, inlined: Iterable[Decision] = ()
    ) -> Item:
        """Marks for choices that are not inlined; in a decode, what keeps a state outside them steps."""
        place = partial(_place, dict(inlined))
        running, inputs = self._running(module, inputs)
        if not isinstance(running, Decoder):
            return substitute(running, place, prefix), inputs
        running.network = substitute(running.network, place, prefix)
        return running, inputs

    @cached_property
    def _inline(self) -> tuple[str, ...]:
        """The outermost choices that are inline: there is a frame for each option."""
        return tuple(p for p, choice in self.choices.items() if choice.inline and self.nesting[p] is None)

    def _inlined(self, architecture: Mapping[str, str]) -> tuple[Decision, ...]:
        """What an architecture takes of them."""
        return tuple((path, architecture[path]) for path in self._inline if path in architecture)

    @cached_property
    def _parts(self) -> dict[Decision, str]:
        return {decision: structure_key(*item) for decision, item in self._marked.items()}

    @cached_property
    def _framed(self) -> dict[tuple[Decision, ...], Item]:
        """The network with marks, for each way to take what is inlined."""
        ways = product(*([(path, option) for option in self.choices[path].options] for path in self._inline))
        return {way: self._with_places(self.network, self.inputs, "", way) for way in ways}

    @cached_property
    def _frames(self) -> dict[tuple[Decision, ...], str]:
        return {way: structure_key(*item) for way, item in self._framed.items()}

    @cached_property
    def _models(self) -> dict[str, onnx.ModelProto]:
        """Frames and parts by structure key, exported in one pass where they were not kept."""
        frames = {self._frames[way]: item for way, item in self._framed.items()}
        items = {self._parts[decision]: item for decision, item in self._marked.items()}
        try:
            return self.exports.models({**items, **frames})
        except ExportError as error:
            places = {key: f"choice {path!r}, option {name!r}" for (path, name), key in self._parts.items()}
            where = places.get(error.name or "", "what stands around the choices")
            raise SearchSpaceError(
                f"{where}: {error.said}; the winner is an ONNX file: write it otherwise, or take it out"
            ) from error

    def check_export(self) -> None:
        """Exports every part, as all else here does when it needs one.

        Raises SearchSpaceError, naming choice and option, for one that cannot be exported.
        """
        _ = self._models


def _place(inlined: Mapping[str, str], path: str, choice: Choice) -> nn.Module:
    """A place for the options of a choice; the smallest of them stands in while the frame is exported.

    Where the choice is inlined, its option itself, with places for what is nested in it.
    """
    if path in inlined:
        name = inlined[path]
        inner = join(path, module_name(name))
        return substitute(finalised(choice.option(name)), partial(_place, inlined), inner)
    options = [_first(choice, name) for name in choice.options]
    smallest = min(options, key=lambda option: sum(p.numel() for p in option.parameters()))
    return Marked(path, smallest)


def _first(choice: Choice, name: str) -> nn.Module:
    """An option as it ships; choices nested in it take their first option."""
    return finalised(substitute(choice.option(name), lambda _, inner: _first(inner, inner.options[0])))


def _order_states(
    whole: onnx.ModelProto, own: int, decoder: Decoder, prefix: str, places: tuple[str, ...]
) -> None:
    """Puts the states among inputs and outputs into the decoder's order.

    The frame's own `own` inputs come first, and then those of the places as they were filled.
    """
    inputs = {value.name: value for value in whole.graph.input}
    outputs = {value.name: value for value in whole.graph.output}
    counts = {path: len(block.state_names) for path, block in decoder.blocks.items()}
    outside = [path for path in counts if _place_of(join(prefix, path), places) is None]
    first = own - sum(counts[path] for path in outside)
    ordered_in, ordered_out = list(whole.graph.input)[:first], list(whole.graph.output)[:1]
    own_in, own_out = list(whole.graph.input)[first:own], list(whole.graph.output)[1:]
    taken: Counter[str | None] = Counter()
    for path, count in counts.items():
        place = _place_of(join(prefix, path), places)
        for number in range(taken[place], taken[place] + count):
            ordered_in.append(own_in[number] if place is None else inputs[f"{place}<{number}"])
            ordered_out.append(own_out[number] if place is None else outputs[f"{place}>{number}"])
        taken[place] += count
    _replace(whole.graph.input, ordered_in)
    _replace(whole.graph.output, ordered_out)


def _replace(field: MutableSequence[onnx.ValueInfoProto], values: Sequence[onnx.ValueInfoProto]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def _place_of(path: str, places: tuple[str, ...]) -> str | None:
    return next((place for place in places if path == place or path.startswith(f"{place}.")), None)
