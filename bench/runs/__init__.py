"""Runs of a benchmark. In: checked settings and the folder of runs. Out: stages, fingerprints, cards, plans, MLflow.

May import ``bench.config``, ``bench.machine``, ``bench.faces``, ``bench.files``, ``bench.errors``, ``bench.names``,
``bench.cli`` and ``bench.markdown``.
"""
