"""The process that runs: device, memory, timers, worker processes, progress, journals and resuming."""
