"""What a benchmark will need. In: its settings, and what a rehearsal measured. Out: the plan as text, measurements.

May import what ``bench.runs`` may.
"""
