"""Perceptual hashes of images, of their shifts by up to two pixels and of their mirror images -> nearest real image.

The hash is that of ``evaluate.audit.images.scan``: signs of the 64 lowest frequencies of a cosine transform,
here of all 112 x 112 pixels. A shift by a few pixels changes many bits, so that every synthetic image is compared in 50
variants. On aligned faces the hash says little: different people may differ in few bits. So the bits of held-out people
are measured beside them.
Legend: N images, V = 50 variants, M real images.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.faces.face import FACE_SIZE
from bench.vectors.nearest import nearest_centers
from evaluate.audit.images.scan import NUM_FREQUENCIES, low_frequencies

MAX_SHIFT = 2
NUM_BITS = NUM_FREQUENCIES**2
NUM_VARIANTS = 2 * (2 * MAX_SHIFT + 1) ** 2
_UNSHIFTED = MAX_SHIFT * (2 * MAX_SHIFT + 1) + MAX_SHIFT
"""Number of the variant that is neither shifted nor mirrored."""


def variant_signs(grey: NDArray[np.floating]) -> NDArray[np.float32]:
    """Bits of the hash of all variants of an image, as -1 and 1, shape (V, 64).

    All shifts are linear, and mirroring changes the sign of every second frequency across. So 25 products of small
    matrices give the 50 hashes. Pixels that a shift uncovers repeat the border.

    Args:
        grey: Brightness, shape (112, 112).
    """
    low = np.einsum("yfh,hw,xgw->yxfg", _SHIFTED, grey.astype(np.float32), _SHIFTED, optimize=True)
    both = np.stack([low, low * _MIRROR])  # (2, shifts down, shifts across, 8, 8)
    flat = both.reshape(NUM_VARIANTS, NUM_BITS)
    is_set = flat > np.median(flat[:, 1:], axis=1, keepdims=True)
    return np.where(is_set, np.float32(1), np.float32(-1))


def hash_signs(faces: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Bits of the hashes of some faces as they are, as -1 and 1, shape (M, 64).

    Args:
        faces: uint8 RGB, each (112, 112, 3).
    """
    return np.stack([variant_signs(grey_level(face))[_UNSHIFTED] for face in faces])


def nearest_bits(
    faces: Iterable[NDArray[np.uint8]], real_signs: NDArray[np.float32], *, device: str = "cpu"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fewest differing bits between any variant of each face and any real face, and that real face.

    Args:
        faces: N faces, uint8 RGB, each (112, 112, 3).
        real_signs: Hashes of the real faces, see ``hash_signs``.
        device: Torch device of the products.

    Returns:
        Bits, 0 to 64, shape (N,), and positions of the real faces, shape (N,).
    """
    bits, positions = [], []
    for face in faces:
        cosines, nearest = nearest_centers(variant_signs(grey_level(face)), real_signs, device=device)
        best = int(cosines.argmax())
        bits.append(round((1 - float(cosines[best])) * NUM_BITS / 2))
        positions.append(int(nearest[best]))
    return np.array(bits), np.array(positions)


def grey_level(face: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness of a face, 0..255, shape (112, 112)."""
    return np.asarray(Image.fromarray(face).convert("L"), dtype=np.float32)


def _shifted_transforms() -> NDArray[np.float32]:
    """Matrices from 112 pixels to 8 frequencies, one for each shift of -2 to 2 pixels, shape (5, 8, 112)."""
    pixels = np.arange(FACE_SIZE)
    transforms = []
    for shift in range(-MAX_SHIFT, MAX_SHIFT + 1):
        source = (pixels - shift).clip(0, FACE_SIZE - 1)
        moved = np.zeros((FACE_SIZE, FACE_SIZE), np.float32)
        moved[pixels, source] = 1
        transforms.append(low_frequencies(FACE_SIZE) @ moved)
    return np.stack(transforms)


_SHIFTED = _shifted_transforms()
_MIRROR = np.where(np.arange(NUM_FREQUENCIES) % 2, -1, 1).astype(np.float32)
