"""A synthetic dataset, the people that its generator was trained on, and held-out people in; what leaks, out.

Imports go one way: membership, searches, hashes, people, picture and page stand alone; above them report. The package
uses evaluate.audit.source, evaluate.audit.images.scan and evaluate.audit.embeddings, and nothing else of the audit.
"""
