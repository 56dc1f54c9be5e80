"""Controllers: how architecture parameters become this step's mixture. One sampling rule a file."""

from nas.controllers.controller import Controller, probabilities
from nas.controllers.darts import Darts
from nas.controllers.gumbel import Gumbel
from nas.controllers.uniform import Uniform

CONTROLLERS: dict[str, Controller] = {"gumbel": Gumbel(), "darts": Darts(), "random": Uniform()}
"""The command line's names."""

__all__ = ["CONTROLLERS", "Controller", "Darts", "Gumbel", "Uniform", "probabilities"]
