"""Flags of ``python -m bench``'s sub-commands -> one call of a function of another sub-package.

Only ``bench.__main__`` imports this package. Heavy imports wait until a sub-command runs, so that ``--help`` is quick.
"""
