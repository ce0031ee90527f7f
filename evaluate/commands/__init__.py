"""The sub-commands of ``python -m evaluate``: flags and help only, each calls one function.

May import all of evaluate; only ``evaluate.__main__`` imports it.
"""
