"""The exceptions of this package, under one root. Each carries the exit code of the command line."""


class NasError(Exception):
    """Something went wrong; the message is one line that names the value, the place and the way out."""

    exit_code = 1


class BadInputError(NasError):
    """What was asked for cannot be done as asked: a value, a name or a path is wrong."""

    exit_code = 2


class InfeasibleBudgetError(NasError):
    """No architecture of the space meets the budget, by the cost table: said before any training."""

    exit_code = 3


class VerificationError(NasError):
    """The exported file was measured and is not within the budget, or its outputs differ from PyTorch's."""

    exit_code = 4


class DivergedError(NasError):
    """A loss became NaN or infinite; the last good checkpoint stays."""
