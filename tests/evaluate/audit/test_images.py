"""The scan of images: broken and blurred ones, duplicates; near duplicates equal those of comparing all with all."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from bench.faces.face import encode_jpeg
from evaluate.audit.images.duplicates import first_with_same_pixels, hamming, near_pairs
from evaluate.audit.images.scan import NEAR_BITS, other_sizes, perceptual_hash, scan_images, sharpness, usable_images
from evaluate.audit.source import open_source


def picture(seed, size=112):
    """A smooth made-up image, uint8 (size, size, 3)."""
    small = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


@pytest.fixture
def faces(tmp_path):
    """Three identities: different pictures, one exact and one near duplicate, one broken file, one of another size."""
    for name, pixels in {"a/1": picture(1), "a/2": picture(2), "b/1": picture(3), "b/2": picture(1)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    brighter = (picture(2) * 0.9 + 20).astype(np.uint8)
    (tmp_path / "b" / "3.jpg").write_bytes(encode_jpeg(brighter, quality=60))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "1.jpg").write_bytes(encode_jpeg(picture(4))[:900])
    Image.fromarray(picture(5, 160)).save(tmp_path / "c" / "2.png")
    return open_source(tmp_path)


def test_scan(faces):
    scan = scan_images(faces)
    labels = [faces.label(i)[-7:] for i in range(len(faces))]
    assert [labels[i] for i in np.flatnonzero(scan.table["is_broken"])] == ["c/1.jpg"]
    assert len(scan.problems) == 1
    assert "c/1.jpg does not decode" in scan.problems[0]
    assert other_sizes(scan) == {"160 x 160": 1}
    assert usable_images(scan).tolist() == scan.decoded.tolist()
    first = first_with_same_pixels(scan.table["digest"][scan.decoded])
    assert [(labels[scan.decoded[i]], labels[scan.decoded[j]]) for i, j in enumerate(first) if i != j] == [
        ("b/2.png", "a/1.png")
    ]
    near = near_pairs(scan.table["hash"][scan.decoded], NEAR_BITS)
    assert {tuple(labels[scan.decoded[i]] for i in pair) for pair in near.pairs} == {
        ("a/1.png", "b/2.png"),
        ("a/2.png", "b/3.jpg"),
    }
    row = scan.table[0]
    assert row["brightness"] == pytest.approx(np.asarray(Image.fromarray(picture(1)).convert("L")).mean(), abs=0.01)
    assert row["red_minus_blue"] == pytest.approx((picture(1)[..., 0] - picture(1)[..., 2].astype(float)).mean(), abs=1)


def test_images_that_cannot_be_aligned_faces_are_not_embedded(tmp_path):
    for number, size in enumerate([(112, 112), (250, 250), (96, 112), (112, 96), (128, 128)]):
        (tmp_path / f"p{number}").mkdir()
        Image.new("RGB", size).save(tmp_path / f"p{number}" / "1.png")
    scan = scan_images(open_source(tmp_path))
    assert usable_images(scan).tolist() == [0, 4]
    assert other_sizes(scan) == {"96 x 112": 1, "112 x 96": 1, "128 x 128": 1, "250 x 250": 1}


def test_sharpness_falls_with_blur():
    gray = np.random.default_rng(0).uniform(0, 255, (112, 112))
    blurred = (gray + np.roll(gray, 1, 0) + np.roll(gray, 1, 1)) / 3
    slow = np.array(
        [
            gray[y - 1, x] + gray[y + 1, x] + gray[y, x - 1] + gray[y, x + 1] - 4 * gray[y, x]
            for y in range(1, 111)
            for x in range(1, 111)
        ]
    )
    assert sharpness(gray) == pytest.approx(slow.var())
    assert sharpness(blurred) < sharpness(gray)
    assert sharpness(np.full((112, 112), 7.0)) == 0


def test_hash_survives_scaling_and_encoding_but_tells_pictures_apart():
    def hash_of(image):
        return perceptual_hash(np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX)))

    hashes = []
    for seed in range(20):
        image = Image.fromarray(picture(seed))
        buffer = io.BytesIO()
        image.resize((90, 90)).save(buffer, "JPEG", quality=70)
        assert (hash_of(image) ^ hash_of(Image.open(buffer))).bit_count() <= 4
        hashes.append(hash_of(image))
    assert min((a ^ b).bit_count() for a, b in itertools.combinations(hashes, 2)) > 10


@pytest.mark.parametrize("max_bits", [0, 1, 2, 3, 6])
def test_near_pairs_equal_all_with_all(max_bits):
    rng = np.random.default_rng(max_bits)
    base = rng.integers(0, 1 << 63, 30, dtype=np.uint64)
    flips = np.zeros(200, dtype=np.uint64)
    for row in range(200):
        for bit in rng.integers(0, 64, rng.integers(0, 5)):
            flips[row] ^= np.uint64(1) << np.uint64(bit)
    hashes = base[rng.integers(0, 30, 200)] ^ flips
    expected = [
        (i, j)
        for i, j in itertools.combinations(range(200), 2)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= max_bits
    ]
    near = near_pairs(hashes, max_bits)
    assert [tuple(pair) for pair in near.pairs] == expected
    assert near.bits.tolist() == [(int(hashes[i]) ^ int(hashes[j])).bit_count() for i, j in expected]
    assert near.is_complete


def test_a_collapsed_dataset_ends_the_search():
    near = near_pairs(np.zeros(500, dtype=np.uint64), 2, max_pairs=1000)
    assert not near.is_complete
    assert 1000 < len(near.pairs) < 2000
    assert hamming(np.array([7], np.uint64), np.array([0], np.uint64)).tolist() == [3]
