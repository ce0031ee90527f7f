"""Typed parts of the cards.

``references.py``: what a card refers to. ``statistics.py``: statistics of a dataset. ``audit.py``, ``makeup.py``,
``quality.py``, ``privacy.py``: sections of an audit. ``groups.py``: errors by group of people. ``identification.py``:
searches in galleries. ``given.py``: base of parts whose fields differ from card to card.
"""
