"""Landmarks of faces -> aligned faces; aligned faces -> how far they lie off the middle."""
