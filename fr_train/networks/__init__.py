"""Building blocks of recognition networks, and the networks other than IResNet.

In: faces (B, 3, 112, 112). Out: features (B, D) before normalisation. May import ``bench`` and nothing else of ours.
"""
