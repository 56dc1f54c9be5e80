"""The exceptions of this package, under one root."""


class SearchSpaceError(Exception):
    """A search space, an architecture or a mixture that cannot be used; the message names the place."""


class UnboundChoiceError(SearchSpaceError):
    """A Choice was called outside a supernet, where nothing says which option runs."""


class DataError(SearchSpaceError):
    """Data that is missing, empty, unreadable or too short; the message names the path."""


def first_line(error: Exception) -> str:
    """What an error says, in one line, after its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
