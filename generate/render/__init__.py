"""Seeds -> rendered faces of known pose, age and light.

In: identity seeds and image seeds. Out: faces, datasets, verification protocols. May import ``bench.faces``,
``bench.machine``, ``bench.files``, ``bench.errors`` and ``bench.names``; no torch, and nothing else of ``generate``.
"""
