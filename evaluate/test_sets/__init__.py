"""Known verification sets: where to get them, how to check and to pack them."""
