"""Typed parts of the cards.

``references.py``: what a card refers to. ``statistics.py``: figures of a dataset. ``audit.py``: sections of an audit.
``groups.py``: errors by group of people. ``identification.py``: searches in galleries.
"""
