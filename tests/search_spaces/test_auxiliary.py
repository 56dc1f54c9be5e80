"""Auxiliary losses reach the listener around them and nobody else."""

import pytest
import torch

from search_spaces.auxiliary import collect, listening, report


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
