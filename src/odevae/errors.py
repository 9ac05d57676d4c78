"""The one exception that odevae raises on bad input."""


class OdevaeError(Exception):
    """A mistake in what odevae was given.

    The message is one sentence that says what is wrong, where, and what to do about it; stages print it and
    exit with status 1 instead of showing a traceback.
    """
