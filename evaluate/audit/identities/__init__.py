"""Embeddings with identities in; cosines within and between identities, unique identities, and shared identities out.

The modules stand alone: they import bench.vectors and nothing else of this project.
"""
