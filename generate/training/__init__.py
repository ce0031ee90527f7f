"""Photographs or rendered faces in, a trained generator out."""
