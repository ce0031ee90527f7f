"""Schemas of benchmarks.yaml and generators.yaml. In: a YAML file. Out: checked, frozen settings.

May import ``bench.errors`` and ``bench.names``.
"""
