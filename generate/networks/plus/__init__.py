"""The networks of Vec2Face+ (arXiv 2507.17192): faces at the pose of a picture of five landmarks.

In: weight files and landmark pictures. Out: a generator that takes a landmark picture beside the identity feature. May
import ``bench``, ``fr_train.checkpoint`` and ``generate.networks``, and nothing else of ``generate``.
"""
