"""Identity vectors -> a face dataset by the Vec2Face generator.

In: the section ``generator`` of a benchmark, a seed, weights. Out: faces.lmdb, faces.parquet, grid.png, statistics for
the card. May import ``generate.vec2face``, ``generate.identities``, ``generate.networks``, ``generate.render.turned``
and ``generate.hub`` (provenance, catalogue), but not ``generate.training``.
"""
