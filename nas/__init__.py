"""Which network should it be: search under a hardware budget, measured.

    import nas
    from search_spaces import ByteText, hybrid_lm

    result = nas.search(hybrid_lm(), ByteText(), "runs/mine", budget=nas.Budget(latency_ms=4))

Names load when they are first used: importing this package is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.budget import Budget
    from nas.controllers import CONTROLLERS, Controller
    from nas.cost_table import CostTable
    from nas.discretise import Constraint, Problem, Scores
    from nas.errors import (
        BadInputError,
        DivergedError,
        InfeasibleBudgetError,
        NasError,
        VerificationError,
    )
    from nas.pricing import price
    from nas.progress import Progress, Silent
    from nas.settings import PRESETS, Effort
    from nas.start import Result, resume, search
    from nas.supernet import Supernet

_HOME = {
    "BadInputError": "errors",
    "Budget": "budget",
    "CONTROLLERS": "controllers",
    "Constraint": "discretise",
    "Controller": "controllers",
    "CostTable": "cost_table",
    "DivergedError": "errors",
    "Effort": "settings",
    "InfeasibleBudgetError": "errors",
    "NasError": "errors",
    "PRESETS": "settings",
    "Problem": "discretise",
    "Progress": "progress",
    "Result": "start",
    "Scores": "discretise",
    "Silent": "progress",
    "Supernet": "supernet",
    "VerificationError": "errors",
    "price": "pricing",
    "resume": "start",
    "search": "start",
}

__all__ = [
    "CONTROLLERS",
    "PRESETS",
    "BadInputError",
    "Budget",
    "Constraint",
    "Controller",
    "CostTable",
    "DivergedError",
    "Effort",
    "InfeasibleBudgetError",
    "NasError",
    "Problem",
    "Progress",
    "Result",
    "Scores",
    "Silent",
    "Supernet",
    "VerificationError",
    "price",
    "resume",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    return getattr(import_module(f"nas.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
