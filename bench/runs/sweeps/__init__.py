"""Sweeps: many runs of benchmarks as one question. In: an entry of sweeps.yaml. Out: ordinary runs and their plan.

May import what ``bench.runs`` may. ``evaluate/scaling`` reads the plan and renders table, figures and page.
"""
