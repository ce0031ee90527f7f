"""Plan and rehearsal of a benchmark. In: its settings and measurements. Out: the plan as text; new measurements.

May import what ``bench.runs`` may.
"""
