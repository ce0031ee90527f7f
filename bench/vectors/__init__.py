"""Cosines between many vectors. In: one vector per face or identity. Out: nearest centres, and separate identities.

May import ``bench.machine``, ``bench.files`` and ``bench.errors``.
"""
