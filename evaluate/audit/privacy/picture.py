"""The nearest pairs of a synthetic image and a training image -> nearest_pairs.png.

The training image is drawn only where that was asked for; otherwise a grey square stands for it, so that the picture
can be published.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bench.faces.face import FACE_SIZE
from bench.files import atomic_path

_COLUMNS, _GAP, _TEXT_HEIGHT = 4, 12, 30
_BLANK, _INK = (206, 210, 215), (28, 33, 39)

DrawnPair = tuple[NDArray[np.uint8], NDArray[np.uint8] | None, str]
"""Synthetic face, training face or None for a blank, and the text below them; faces are (112, 112, 3)."""


def draw_pairs(path: Path, pairs: Sequence[DrawnPair]) -> None:
    """Write a PNG of pairs, four in a row, the synthetic image on the left.

    Args:
        path: The file to write.
        pairs: At least one pair.
    """
    num_rows = -(-len(pairs) // _COLUMNS)
    width, height = 2 * FACE_SIZE + _GAP, FACE_SIZE + _TEXT_HEIGHT
    canvas = Image.new("RGB", (_COLUMNS * width + _GAP, num_rows * height + _GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=12)
    for number, (synthetic, real, text) in enumerate(pairs):
        left, top = _GAP + number % _COLUMNS * width, _GAP + number // _COLUMNS * height
        canvas.paste(Image.fromarray(synthetic), (left, top))
        right = left + FACE_SIZE
        if real is not None:
            canvas.paste(Image.fromarray(real), (right, top))
        else:
            draw.rectangle((right, top, right + FACE_SIZE - 1, top + FACE_SIZE - 1), fill=_BLANK)
            centre = (right + FACE_SIZE // 2, top + FACE_SIZE // 2)
            draw.multiline_text(centre, "training image\nnot shown", _INK, font, anchor="mm", align="center")
        draw.text((left, top + FACE_SIZE + 4), text, _INK, font)
    with atomic_path(path) as temporary:
        canvas.save(temporary, format="png")
