"""Face datasets on disk. In: a path in any layout of the field. Out: ``Faces``, or the same faces in another layout.

May import ``bench.machine``, ``bench.files`` and ``bench.errors``.
"""
