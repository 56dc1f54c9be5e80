"""What rules allow, by hand; and rules that cannot be meant."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from search_spaces import Choice, SearchSpace, SearchSpaceError
from search_spaces.rules import Rule, at_least, at_most, excluded, requires, tied, where


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mixer = Choice({"attention": nn.Linear(4, 4), "linear": nn.Linear(4, 4), "skip": nn.Identity()})
        self.mlp = Choice({"wide": nn.Linear(4, 4), "skip": nn.Identity()})


def _network() -> nn.Module:
    return nn.ModuleDict({"layers": nn.ModuleList(Layer() for _ in range(3))})


def _taken(mixers: str, mlps: str = "www") -> dict[str, str]:
    names = {"a": "attention", "l": "linear", "s": "skip", "w": "wide"}
    return {f"layers.{i}.mixer": names[letter] for i, letter in enumerate(mixers)} | {
        f"layers.{i}.mlp": names[letter] for i, letter in enumerate(mlps)
    }


ATTENTION = where(_network(), "layers.*.mixer", "attention")
CASES = [
    (tied(_network(), "layers.*.mixer"), ["aaa", "lll"], ["aal", "saa"]),
    (at_least(2, ATTENTION), ["aal", "aaa"], ["all", "sss"]),
    (at_most(1, ATTENTION), ["all", "sss"], ["aal", "aaa"]),
    (excluded(*ATTENTION[:2]), ["ala", "lla"], ["aal", "aaa"]),
    (
        requires(("layers.0.mixer", "skip"), ("layers.1.mixer", "linear")),
        ["sla", "aaa", "all"],
        ["saa", "sss"],
    ),
]


@pytest.mark.parametrize(("rule", "allowed", "refused"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_what_a_rule_allows(rule: Rule, allowed: list[str], refused: list[str]) -> None:
    again = Rule.from_dict(json.loads(json.dumps(rule.to_dict())))
    assert again == rule
    for kept in (rule, again):
        assert all(kept.allows(_taken(mixers)) for mixers in allowed)
        assert not any(kept.allows(_taken(mixers)) for mixers in refused)


def test_decisions_are_found_by_pattern() -> None:
    assert where(_network(), "*.1.*", "skip", "wide") == [
        *(("layers.1.mixer", "skip"), ("layers.1.mlp", "wide"), ("layers.1.mlp", "skip"))
    ]


def test_tied_choices_are_one_decision() -> None:
    assert tied(_network(), "layers.*.mlp").tied == tuple(f"layers.{i}.mlp" for i in range(3))


@pytest.mark.parametrize(("pattern", "options"), [("layers.*.mixer", ["moe"]), ("blocks.*", ["skip"])])
def test_patterns_that_match_nothing(pattern: str, options: list[str]) -> None:
    with pytest.raises(SearchSpaceError, match=r"no choice .*; the choices are layers\.0\.mixer"):
        where(_network(), pattern, *options)


@pytest.mark.parametrize("pattern", ["layers.0.mixer", "layers.*", "blocks.*"])
def test_choices_that_cannot_be_tied(pattern: str) -> None:
    with pytest.raises(SearchSpaceError, match="it takes two or more choices of the same options"):
        tied(_network(), pattern)


def test_a_space_refuses_rules_about_what_it_does_not_have() -> None:
    space = SearchSpace("small", _network(), lambda batch, length: (torch.zeros(batch, 4),))
    with pytest.raises(SearchSpaceError, match=r"no choice 'layers\.9\.mixer'; the choices are"):
        replace(space, rules=(excluded(("layers.9.mixer", "skip"), ATTENTION[0]),))
    with pytest.raises(
        SearchSpaceError, match=r"'layers\.0\.mixer' has no 'moe', but attention, linear, skip"
    ):
        replace(space, rules=(at_least(1, [("layers.0.mixer", "moe")]),))
    assert replace(space, rules=(at_least(2, ATTENTION),)).rules[0].name.startswith("at least 2 of layers.0")
