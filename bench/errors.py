"""The exception for everything that a user can cause and can correct."""


class InputError(ValueError):
    """Bad input: a setting, a file or a flag that does not fit.

    The text is one line: what is wrong, with the value that was given, and then what to do. The commands print it on
    stderr and end with status 2. Any other exception is a bug and shows its traceback.
    """
