"""The training set of a generator: turned or rendered faces, features, landmarks, and variation within people.

In: aligned faces, or how many people to render, and an identity network. Out: the folder that ``generate train`` and
``train-pose`` read. May import what ``generate.training`` may.
"""
