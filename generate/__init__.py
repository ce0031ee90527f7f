"""Settings in, a face dataset out."""
