"""Notes when memory is kept: a stand-in for ``bench.machine.device.freed_memory_kept``."""

from contextlib import contextmanager


def note_blocks(events):
    """A context manager that appends the begin of its block, with the device, and its end to ``events``."""

    @contextmanager
    def note_block(device):
        events.append(f"begin {device}")
        yield
        events.append("end")

    return note_block
