"""Which identities and images of those that were drawn become the dataset.

In: measured images and identity vectors. Out: kept or refused, with the reason. Further candidates are drawn where too
few are kept. May import what ``generate.draw`` may.
"""
