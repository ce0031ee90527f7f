"""The one exception for what a user can cause and mend."""


class InputError(ValueError):
    """Bad input. The text is one line: the thing, the value got, what would be right, the next step.

    The commands print it on stderr and end with status 2; anything else is a bug and shows its traceback.
    """
