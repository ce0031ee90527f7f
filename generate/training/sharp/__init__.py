"""Training of a generator that is given the circumstances of rendered images: people -> images with circumstances.

In: an identity network, and how many people to render. Out: the training set, the vectors that new images are drawn
from, and the discriminator of the training. May import what ``generate.training`` may.
"""
