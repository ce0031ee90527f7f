"""The training set of a generator: turned views, features, variation within people, and leakage.

In: aligned faces and an identity network. Out: the folder that ``generate train`` reads. May import what
``generate.training`` may.
"""
