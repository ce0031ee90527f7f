"""Frozen networks that look at faces, and the decoder of the generator.

In: weight files and images in [-1, 1]. Out: features, quality, yaw, images. May import ``bench`` and
``fr_train.checkpoint``, and nothing else of ``generate``.
"""
