"""The exception for everything that a user can cause and can correct, and the form of commands in messages."""

_MAX_CHARACTERS, _END_CHARACTERS = 2000, 300


class InputError(ValueError):
    """Bad input: a setting, a file or a flag that does not fit.

    The text is one line: what is wrong, with the value that was given, and then what to do. The commands print it on
    stderr and end with status 2. Any other exception is a bug and shows its traceback. A name or value of thousands of
    characters, which only a damaged file holds, is cut in the middle.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS // 2]} ... {text[-_END_CHARACTERS:]}"


def python_command(arguments: str) -> str:
    """A command as messages and help print it, which works without an activated environment.

    Args:
        arguments: Package, sub-command and flags, as in ``evaluate fetch lfw``.
    """
    return f".venv/bin/python -m {arguments}"
