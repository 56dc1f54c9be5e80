"""The exceptions of this package, under one root."""


class SearchSpaceError(Exception):
    """A search space, an architecture or a mixture that cannot be used; the message names the place."""


class UnboundChoiceError(SearchSpaceError):
    """A Choice was called outside a supernet, where nothing says which option runs."""


class DataError(SearchSpaceError):
    """Data that is missing, empty, unreadable or too short; the message names the path."""
