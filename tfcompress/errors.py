"""The one exception that means: the user can fix this."""


class UserError(ValueError):
    """A mistake in what was given: one line that says what was given, what is accepted and what to do.

    The command line prints it and exits with status 2; from Python it is an ordinary `ValueError`.
    """


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says, or its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
