"""Subsets and mixtures of face datasets, as views: faces are read where they lie, nothing is copied.

In: opened face datasets, and how much of each to take. Out: a folder that ``bench.faces.open.open_faces`` opens like
any other layout. May import ``bench.machine``, ``bench.files``, ``bench.errors`` and ``bench.faces.face``; the readers
of other layouts are handed in.
"""
