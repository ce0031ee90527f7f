"""The training set of a generator: turned views, features, and variation within people.

In: aligned faces and an identity network. Out: the folder that ``generate train`` reads. May import what
``generate.training`` may.
"""
