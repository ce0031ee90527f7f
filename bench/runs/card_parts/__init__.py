"""Typed parts of the cards: what a card refers to (``references.py``), and the sections of an audit (``audit.py``)."""
