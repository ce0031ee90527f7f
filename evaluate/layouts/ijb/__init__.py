"""IJB-B and IJB-C in their official layout -> templates, pairs of templates, and searches in galleries."""
