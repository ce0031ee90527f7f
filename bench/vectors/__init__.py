"""Cosines between many vectors. In: one vector per face or identity. Out: nearest centres, and separate identities.

May import ``bench.machine`` and ``bench.errors``.
"""
