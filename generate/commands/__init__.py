"""The sub-commands of ``python -m generate``: flags, and one call behind each."""
