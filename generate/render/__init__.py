"""Seeds in, rendered faces out; no torch."""
