"""The training set of a generator: turned views, features, landmarks, and variation within people.

In: aligned faces and an identity network. Out: the folder that ``generate train`` and ``train-pose`` read. May import
what ``generate.training`` may.
"""
