"""Auxiliary losses reach the listener around them and nobody else."""

import pytest
import torch

from search_spaces.auxiliary import Load, collect, collect_loads, listening, report, report_load


def test_only_what_is_reported_inside_is_collected() -> None:
    report(torch.tensor(1.0))
    assert not listening()
    with collect() as losses:
        assert listening()
        report(torch.tensor(2.0))
        report(torch.tensor(3.0))
    report(torch.tensor(4.0))
    assert [float(loss) for loss in losses] == [2.0, 3.0]


def test_the_innermost_listener_hears_and_the_outer_one_returns() -> None:
    with collect() as outer:
        with collect() as inner:
            report(torch.tensor(1.0))
        report(torch.tensor(2.0))
    assert ([float(loss) for loss in outer], [float(loss) for loss in inner]) == ([2.0], [1.0])


def test_an_error_ends_the_listening() -> None:
    with pytest.raises(ZeroDivisionError), collect():
        raise ZeroDivisionError
    assert not listening()


def test_loads_have_listeners_of_their_own() -> None:
    router, shares = torch.nn.Linear(2, 2), torch.tensor([0.5, 0.5])
    with collect_loads() as loads:
        assert listening()
        with collect() as losses:
            report(torch.tensor(1.0))
            report_load(Load(router, shares))
        with collect_loads() as inner:
            report_load(Load(router, 2 * shares))
    report_load(Load(router, shares))
    assert len(losses) == 1
    assert loads == [(router, shares)]
    assert [load.shares.tolist() for load in inner] == [[1.0, 1.0]]
