"""Photographs or rendered faces -> a trained generator, and the check that it does not copy its training people.

May import ``generate.vec2face``, ``generate.networks`` and ``generate.render``; never ``generate.draw``. Only
``make_assets``, which trains the networks that are shipped, may import all of ``generate``.
"""
