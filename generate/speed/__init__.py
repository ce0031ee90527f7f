"""Speed, memory and cost of generating faces, compared with the published scripts: rows of tables out.

May import ``bench``, ``generate.vec2face``, ``generate.identities``, ``generate.networks``, ``generate.draw`` and
``fr_train.checkpoint``.
"""
