"""A synthetic dataset, the people that its generator was trained on, and held-out people in; what leaks, out.

Only report imports other modules of this package. Of the rest of the audit, the package imports source, images.scan and
embeddings.
"""
