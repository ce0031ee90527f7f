"""Schemas of benchmarks.yaml, sweeps.yaml, generators.yaml and catalogue.yaml. In: a YAML file. Out: frozen settings.

May import ``bench.errors``, ``bench.names`` and ``bench.files``.
"""
