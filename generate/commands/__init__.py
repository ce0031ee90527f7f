"""Flags of ``python -m generate``'s sub-commands -> one call of a function of another sub-package.

Only ``generate.__main__`` imports this package. Heavy imports wait until a sub-command runs, so that ``--help`` is
quick.
"""
