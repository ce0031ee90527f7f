"""Embeddings and pixels of a face dataset in; how it differs from real faces, and how diverse it is, out.

Imports go one way: checks < frechet, neighbours, diversity; detail stands alone; above them section. The package uses
evaluate.audit.images.scan, evaluate.audit.embeddings and evaluate.audit.identities, and nothing else of the audit.
"""
