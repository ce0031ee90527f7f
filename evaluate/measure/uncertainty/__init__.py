"""Decisions of networks on pairs -> intervals by bootstrap, and differences of settings that have several seeds."""
