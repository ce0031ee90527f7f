"""Rendered test sets: pairs for verification, people of known groups, and a gallery to search. Out: one folder each."""
