"""Networks that look at faces, and the parts of the generator."""
