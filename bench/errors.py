"""The exception for everything that a user can cause and can correct, and the form of commands in messages."""


class InputError(ValueError):
    """Bad input: a setting, a file or a flag that does not fit.

    The text is one line: what is wrong, with the value that was given, and then what to do. The commands print it on
    stderr and end with status 2. Any other exception is a bug and shows its traceback.
    """


def python_command(arguments: str) -> str:
    """A command as messages and help print it, which works without an activated environment.

    Args:
        arguments: Package, sub-command and flags, as in ``evaluate fetch lfw``.
    """
    return f".venv/bin/python -m {arguments}"
