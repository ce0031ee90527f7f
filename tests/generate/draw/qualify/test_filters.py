"""Filters of generated images: the reason for each dropped image, and duplicates."""

import numpy as np

from bench.config.generator import ImageFilters
from generate.draw.qualify.filters import difference_hash, drop_reasons

KNOWN = ImageFilters(known_centers="centers.npy", max_known_cosine=0.6)


def make_images(num, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 200, (num, 8, 9, 3))
    return np.kron(coarse, np.ones((1, 14, 12, 1))).astype(np.uint8)


def reasons(images, filters, cosine=None, quality=None, known=None):
    ones = np.ones(len(images), np.float32)
    return drop_reasons(
        images,
        filters,
        identity_cosine=ones if cosine is None else cosine,
        quality=ones if quality is None else quality,
        known_cosine=np.full(len(images), np.nan, np.float32) if known is None else known,
    )


def test_nothing_is_dropped_without_a_cause():
    assert reasons(make_images(5), ImageFilters(near_duplicate_bits=0)) == [""] * 5


def test_the_first_reason_counts_and_the_first_duplicate_stays():
    images = make_images(5)
    images[4] = images[3] = images[1]
    cosine = np.array([0.2, 0.9, 0.9, 0.1, 0.9], np.float32)
    quality = np.array([1, 30, 10, 30, 30], np.float32)
    filters = ImageFilters(min_identity_cosine=0.5, min_quality=20)
    assert reasons(images, filters, cosine, quality) == ["identity", "", "quality", "identity", "exact duplicate"]


def test_an_image_too_near_to_a_person_of_the_training_set_is_dropped():
    known = np.array([0.7, 0.5, np.nan], np.float32)
    assert reasons(make_images(3), KNOWN, known=known) == ["known", "", ""]
    assert reasons(make_images(3), ImageFilters(), known=known) == ["", "", ""]


def test_a_dropped_image_does_not_make_its_twin_a_duplicate():
    images = make_images(2)
    images[1] = images[0]
    cosine = np.array([0.1, 0.9], np.float32)
    assert reasons(images, ImageFilters(min_identity_cosine=0.5), cosine) == ["identity", ""]


def test_near_duplicates_survive_noise_and_light():
    images = make_images(3)
    noise = np.random.default_rng(1).integers(0, 3, images[0].shape)
    images[2] = images[0] + noise.astype(np.uint8) + 20
    assert reasons(images, ImageFilters()) == [""] * 3
    assert reasons(images, ImageFilters(near_duplicate_bits=6)) == ["", "", "near duplicate"]


def test_what_was_not_measured_passes():
    nothing = np.full(2, np.nan, np.float32)
    assert reasons(make_images(2), ImageFilters(min_identity_cosine=0.5, min_quality=20), nothing, nothing) == ["", ""]


def test_hash_by_hand():
    rising = np.broadcast_to(np.arange(112, dtype=np.uint8)[None, None, :, None], (1, 112, 112, 3))
    assert difference_hash(rising) == [2**64 - 1]
    assert difference_hash(rising[:, :, ::-1]) == [0]
