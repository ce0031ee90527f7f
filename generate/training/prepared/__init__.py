"""The training set of a generator: turned views, features, landmarks, variation within people, and leakage.

In: aligned faces and an identity network. Out: the folder that ``generate train`` and ``train-pose`` read. May import
what ``generate.training`` may.
"""
