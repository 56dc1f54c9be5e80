"""NNI's model spaces as ours, and what wins as a sample that NNI's `freeze` accepts.

NNI (3.0, the last) marks what is open by labels. `LayerChoice` and `Repeat` say where, and become choices
there. A value, such as a kernel size or an expansion, says only what a module is built with: it is decided at
the innermost module that holds all its uses, which becomes a choice of that module built with each value, and
with every combination where several values meet.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from torch import nn

from search_spaces.choice import Choice, choices, join, parents
from search_spaces.errors import SearchSpaceError
from search_spaces.rules import Rule, one_decision
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from search_spaces.architecture import Architecture

    Sample = dict[str, Any]
    """NNI's: label to value."""

MOST_OPTIONS = 64
"""Of values that meet at one module: beyond, the space is one of whole networks and not of their parts."""


def from_nni(
    model_space: nn.Module, example_inputs: Callable[[int, int], tuple[Tensor, ...]]
) -> tuple[SearchSpace, Callable[[Architecture], Sample]]:
    """A space, and what gives the sample of one of its architectures: `model_space.freeze(sample)`.

    `model_space` stays as it is. Weights of what is built anew for a value are new ones, as they are in NNI.
    Labels that stand at several places are tied by a rule.

    Raises SearchSpaceError without NNI, and for what is not made of modules that can stand for each other: a
    value that changes the shapes of a whole network, a continuous one, a constraint.
    """
    space = _Conversion(model_space)
    network = space.converted(copy.deepcopy(model_space), "", space.constants)
    found = choices(network)
    meanings = {path: space.meanings[id(choice)] for path, choice in found.items()}

    def sample(architecture: Architecture) -> Sample:
        taken = dict(space.constants)
        for path, option in architecture.items():
            taken |= meanings[path].samples[option]
        return taken

    rules = tuple(_ties(network, meanings))
    return SearchSpace(type(model_space).__name__, network, example_inputs, rules=rules), sample


@dataclass(frozen=True)
class _Meaning:
    """What the options of a choice stand for: labels and their values. Choices of one `key` are one."""

    key: tuple[str, int]
    samples: Mapping[str, Sample]


@dataclass
class _Conversion:
    """What is known of a model space, and what was made of it so far."""

    model_space: nn.Module
    constants: Sample = field(init=False)
    """Labels that have one value."""
    places: dict[str, list[str]] = field(init=False)
    """By the path of a module, the labels of values that are decided there."""
    meanings: dict[int, _Meaning] = field(default_factory=dict)
    """By the identity of a choice."""

    def __post_init__(self) -> None:
        self.nni, self.mutable = _nni()
        self.values: dict[str, list[Any]] = {}
        uses: dict[str, list[str]] = {}
        for path, module in self.model_space.named_modules():
            for leaf in self._leaves(module):
                self.values[leaf.label] = self._values(leaf)
                if not self._is_structure(module):
                    inside = isinstance(module, self.nni.InputChoice)
                    uses.setdefault(leaf.label, []).append(_outer(path) if inside else path)
        self.constants = {label: values[0] for label, values in self.values.items() if len(values) == 1}
        self.places = {}
        for label, paths in uses.items():
            if label not in self.constants:
                self.places.setdefault(self._common(paths), []).append(label)

    def converted(self, module: nn.Module, path: str, known: Sample) -> nn.Module:
        """The module with choices in it, `known` being the labels that are decided around it."""
        open_here = [label for label in self.places.get(path, []) if label not in known]
        if open_here:
            return self._by_value(module, path, known, open_here)
        if isinstance(module, self.nni.LayerChoice):
            return self._layer_choice(module, path, known)
        if isinstance(module, self.nni.Repeat):
            return self._repeat(module, path, known)
        if self._builds_itself(module):
            self._check_known(module, path, known)
            return module.freeze(known)  # type: ignore[no-any-return, operator]
        for name, child in module.named_children():
            module._modules[name] = self.converted(child, join(path, name), known)
        return module

    def _by_value(self, module: nn.Module, path: str, known: Sample, labels: Sequence[str]) -> Choice:
        samples = [
            dict(zip(labels, values, strict=True))
            for values in product(*(self.values[label] for label in labels))
        ]
        if len(samples) > MOST_OPTIONS:
            where = path or "the whole network"
            raise SearchSpaceError(
                f"{type(self.model_space).__name__}: {', '.join(labels)} together build {where} in "
                f"{len(samples)} ways, and no more than {MOST_OPTIONS} can be options: give the space one "
                "value for what reaches across layers, such as a width"
            )
        options = {
            ", ".join(f"{label}={value}" for label, value in sample.items()): sample for sample in samples
        }
        choice = Choice(
            {
                name: self.converted(copy.deepcopy(module), path, known | sample)
                for name, sample in options.items()
            }
        )
        return self._remembered(choice, (", ".join(labels), 0), options)

    def _layer_choice(self, module: Any, path: str, known: Sample) -> nn.Module:
        options = {
            str(name): self.converted(module[name], join(path, str(name)), known) for name in module.names
        }
        if module.label in known:
            return options[str(known[module.label])]
        samples = {str(name): {module.label: name} for name in module.names}
        return self._remembered(Choice(options), (module.label, 0), samples)

    def _repeat(self, module: Any, path: str, known: Sample) -> nn.Module:
        """The blocks up to the smallest depth, and a choice to stop there or to go on to the next."""
        blocks = [
            self.converted(block, join(path, f"blocks.{number}"), known)
            for number, block in enumerate(module.blocks)
        ]
        if not isinstance(module.depth_choice, self.mutable.Categorical):
            if isinstance(module.depth_choice, self.mutable.Mutable):
                return nn.Sequential(*blocks[: module.depth_choice.freeze(known)])
            return nn.Sequential(*blocks[: module.depth_choice])
        label = module.depth_choice.label
        depths = [known[label]] if label in known else sorted(self.values[label])
        after: list[nn.Module] = []
        for step in reversed(range(1, len(depths))):
            here, there = depths[step - 1], depths[step]
            deeper = nn.Sequential(*blocks[here:there], *after)
            last = f"depth {there}" if step + 1 == len(depths) else "deeper"
            samples = {f"depth {here}": {label: here}, last: {} if last == "deeper" else {label: there}}
            choice = Choice({f"depth {here}": nn.Identity(), last: deeper})
            after = [self._remembered(choice, (label, step), samples)]
        return nn.Sequential(*blocks[: depths[0]], *after)

    def _remembered(self, choice: Choice, key: tuple[str, int], samples: Mapping[str, Sample]) -> Choice:
        self.meanings[id(choice)] = _Meaning(key, samples)
        return choice

    def _leaves(self, module: nn.Module) -> Iterator[Any]:
        """The labels that a module itself is open in."""
        if isinstance(module, self.nni.MutableModule):
            for mutable in module.mutables:
                yield from mutable.simplify().values()

    def _is_structure(self, module: nn.Module) -> bool:
        if isinstance(module, self.nni.Repeat):
            return isinstance(module.depth_choice, self.mutable.Categorical)
        return isinstance(module, self.nni.LayerChoice)

    def _builds_itself(self, module: nn.Module) -> bool:
        """Whether `freeze` does more than to freeze what is inside."""
        if not isinstance(module, self.nni.MutableModule):
            return False
        return bool(module.mutables) or type(module).freeze is not self.nni.MutableModule.freeze

    def _check_known(self, module: nn.Module, path: str, known: Sample) -> None:
        inside = {leaf.label for part in module.modules() for leaf in self._leaves(part)}
        if unknown := sorted(inside - set(known)):
            raise SearchSpaceError(
                f"{type(self.model_space).__name__}: {path or 'the whole network'}, a "
                f"{type(module).__name__}, builds itself anew and holds {', '.join(unknown)}, which cannot "
                "be decided inside it: take the choice out of it"
            )

    def _values(self, leaf: Any) -> list[Any]:
        if not isinstance(leaf, self.mutable.Categorical | self.mutable.CategoricalMultiple):
            raise SearchSpaceError(
                f"{type(self.model_space).__name__}: {leaf!r} is a {type(leaf).__name__}, and options are "
                "those of nni.choice: give a list of values"
            )
        return list(leaf.grid())

    def _common(self, paths: Sequence[str]) -> str:
        """The innermost module that is called and holds all these."""
        split = [path.split(".") if path else [] for path in paths]
        shared = 0
        while all(len(parts) > shared for parts in split) and len({p[shared] for p in split}) == 1:
            shared += 1
        path = ".".join(split[0][:shared])
        while isinstance(self.model_space.get_submodule(path), nn.ModuleList | nn.ModuleDict):
            path = _outer(path)
        return path


def _outer(path: str) -> str:
    return path.rpartition(".")[0]


def _ties(network: nn.Module, meanings: Mapping[str, _Meaning]) -> Iterator[Rule]:
    """A rule for every label that stands at several places which are in a network together."""
    nesting = parents(network)
    groups: dict[tuple[str, int], list[str]] = {}
    for path, meaning in meanings.items():
        groups.setdefault(meaning.key, []).append(path)
    for (label, _), paths in groups.items():
        apart = {_exclude(a, b, nesting) for a, b in combinations(paths, 2)}
        if apart == {False} and len({_reached(path, nesting, meanings) for path in paths}) == 1:
            yield one_decision(f"{label} is one choice", paths, meanings[paths[0]].samples)
        elif apart and apart != {True}:
            raise SearchSpaceError(
                f"label {label!r} stands at {', '.join(paths)}, of which one may be there without the other: "
                "give each a label of its own"
            )


def _ancestors(path: str, nesting: Mapping[str, tuple[str, str] | None]) -> dict[str, str]:
    found: dict[str, str] = {}
    outer = nesting[path]
    while outer is not None:
        found[outer[0]] = outer[1]
        outer = nesting[outer[0]]
    return found


def _exclude(a: str, b: str, nesting: Mapping[str, tuple[str, str] | None]) -> bool:
    """Whether they lie in different options of one choice."""
    first, second = _ancestors(a, nesting), _ancestors(b, nesting)
    return any(second.get(path, option) != option for path, option in first.items())


def _reached(
    path: str, nesting: Mapping[str, tuple[str, str] | None], meanings: Mapping[str, _Meaning]
) -> frozenset[tuple[object, str]]:
    """What has to be decided for it to be there, tied places being one."""
    return frozenset((meanings[p].key, option) for p, option in _ancestors(path, nesting).items())


def _nni() -> tuple[Any, Any]:
    """NNI's modules and its values."""
    try:
        import nni.mutable
        import nni.nas.nn.pytorch
    except ImportError as error:
        raise SearchSpaceError(f"from_nni needs the extra nni: pip install 'dnas[nni]' ({error})") from None
    return nni.nas.nn.pytorch, nni.mutable
