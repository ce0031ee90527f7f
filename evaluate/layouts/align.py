"""Five landmarks -> an aligned 112 x 112 face: ``bench.faces.align``, which training sets are aligned by too."""

from bench.faces.align import align, similarity_transform

__all__ = ["align", "similarity_transform"]
