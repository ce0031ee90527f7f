"""Measured tables: speed, memory and cost of generating faces, ours against the published scripts."""
