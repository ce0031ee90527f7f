"""A synthetic verification protocol with grey faces."""

import numpy as np

from evaluate.layouts.images import LazyImages
from evaluate.protocol import Protocol


def make_protocol(pairs, is_genuine, name="made_up"):
    """Protocol of given pairs (P, 2) and labels (P,); face i has the grey value i."""
    pairs = np.asarray(pairs)
    black = np.zeros((112, 112, 3), dtype=np.uint8)
    faces = LazyImages(lambda i: black + np.uint8(i), np.arange(pairs.max() + 1))
    return Protocol(name, faces, pairs, np.asarray(is_genuine), "0" * 64)
