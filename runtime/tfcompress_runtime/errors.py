"""The exception for mistakes that the user can fix."""


class UserError(ValueError):
    """A mistake in the user's input; its message is one line: what was given, what is accepted and what to do next.

    The command line prints the message and exits with status 2. In Python it is an ordinary `ValueError`.
    """
