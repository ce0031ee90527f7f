"""Hashes over shifts and mirror images: equal to hashing each shifted image, and a moved copy is found."""

import numpy as np
from PIL import Image, ImageFilter

from evaluate.audit.images.scan import low_frequencies
from evaluate.audit.privacy.hashes import MAX_SHIFT, NUM_BITS, NUM_VARIANTS, hash_signs, nearest_bits, variant_signs


def face(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(6)))


def moved(pixels, down, across):
    """The image moved by some pixels; the border is repeated where it uncovers nothing."""
    padded = np.pad(pixels, ((3, 3), (3, 3), *([(0, 0)] * (pixels.ndim - 2))), mode="edge")
    return padded[3 - down : 115 - down, 3 - across : 115 - across]


def test_variants_equal_the_hash_of_each_moved_image():
    grey = np.asarray(Image.fromarray(face(0)).convert("L"), dtype=np.float64)
    transform = low_frequencies(112).astype(np.float64)
    expected = []
    for image in (grey, None):
        for down in range(-MAX_SHIFT, MAX_SHIFT + 1):
            for across in range(-MAX_SHIFT, MAX_SHIFT + 1):
                shifted = moved(grey, down, across)
                low = (transform @ (shifted if image is not None else shifted[:, ::-1]) @ transform.T).ravel()
                expected.append(np.where(low > np.median(low[1:]), 1, -1))
    signs = variant_signs(grey)
    assert signs.shape == (NUM_VARIANTS, NUM_BITS)
    assert (signs != np.stack(expected)).mean() < 0.001  # rounding of float32 at the median


def test_a_moved_and_mirrored_copy_is_found():
    real = [face(seed) for seed in range(1, 9)]
    copies = [moved(real[5], 2, -1)[:, ::-1], real[2], face(77)]
    bits, positions = nearest_bits(copies, hash_signs(real))
    assert bits[:2].tolist() == [0, 0] and positions[:2].tolist() == [5, 2]
    assert bits[2] > 5
