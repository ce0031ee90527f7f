"""Embeddings and pixels of a face dataset in; how it differs from real faces, and how diverse it is, out.

A module imports only modules before it in this list: checks, detail, perceptual, published; frechet, neighbours;
diversity; section, page. Of the rest of the audit, the package imports source, embeddings and identities.
"""
