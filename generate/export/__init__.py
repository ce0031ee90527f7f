"""Trained networks -> ONNX files that run without this project: the generator, and the identity network.

May import bench, ``generate.vec2face`` and ``generate.networks``.
"""
