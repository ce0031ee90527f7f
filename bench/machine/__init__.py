"""The process that runs: device, timers, worker processes, progress bars, journals, checkpoints.

In: environment variables and the machine. Out: ranks, devices, batches, facts for cards. May import ``bench.errors``
and ``bench.files``.
"""
