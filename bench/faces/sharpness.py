"""A face -> its sharpness: the variance of the Laplacian of the grey level.

Noise raises it as detail does, so a high value alone does not prove detail. Shapes: ``H W`` pixels.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.faces.face import FACE_SIZE

CENTRAL_SIDE = 72
"""Side in pixels of the central square of an aligned face, which holds the face and little hair and background."""


def sharpness(gray: NDArray[np.floating]) -> float:
    """Variance of the Laplacian; low for a blurred image.

    Args:
        gray: Brightness in 0..255, shape (H, W).
    """
    centre = gray[1:-1, 1:-1]
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * centre
    return float(laplacian.var()) if laplacian.size else 0.0


def central_grey(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Grey level of the central square of an aligned face, 0..255, shape (72, 72).

    Args:
        image: Aligned face, uint8 RGB, shape (112, 112, 3).
    """
    margin = (FACE_SIZE - CENTRAL_SIDE) // 2
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float64)
    return grey[margin : margin + CENTRAL_SIDE, margin : margin + CENTRAL_SIDE]
