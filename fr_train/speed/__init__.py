"""Measurements of the trainer for ``python -m bench.speed train``: rendered faces and recipes in, rows of tables out.

May import ``bench`` and ``fr_train.trainer``.
"""
