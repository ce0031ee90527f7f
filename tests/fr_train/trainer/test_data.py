"""Decoding equals Pillow in every format, damaged records are named; batches cover the dataset, ranks share them."""

import io

import numpy as np
import pytest
import torch
from face_files import make_faces
from PIL import Image
from training import tiny_recipe

from bench.errors import InputError
from bench.faces.face import aligned_image, encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces
from fr_train.trainer.data import FaceBatches, decode_faces


def picture(seed: int, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))


def file_of(image: np.ndarray, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=form, **options)
    return buffer.getvalue()


@pytest.fixture
def write(tmp_path):
    def write_faces(*files: bytes):
        with FaceWriter(tmp_path / "faces.lmdb") as writer:
            for position, file in enumerate(files):
                writer.write(file, position % 2)
        return open_faces(tmp_path / "faces.lmdb")

    return write_faces


def test_every_format_decodes_as_pillow_does(write):
    files = [
        encode_jpeg(picture(0)),
        file_of(picture(1), "JPEG", quality=60, subsampling=2),
        file_of(picture(2), "JPEG", progressive=True),
        file_of(picture(3), "PNG"),
        file_of(picture(4), "BMP"),
        file_of(picture(5)[..., 0], "JPEG"),
    ]
    faces = write(*files)
    decoded = decode_faces(faces, np.arange(6))
    assert decoded.dtype == torch.uint8
    for position, file in enumerate(files):
        np.testing.assert_array_equal(decoded[position], np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


def test_square_faces_are_scaled_and_others_are_refused(write):
    faces = write(encode_jpeg(picture(0, (160, 160))), encode_jpeg(picture(1)), encode_jpeg(picture(2, (96, 112))))
    decoded = decode_faces(faces, np.array([0, 1]))
    for index in (0, 1):
        np.testing.assert_array_equal(decoded[index], aligned_image(faces, index))
    with pytest.raises(InputError, match=r"faces\.lmdb key 2 is 96 x 112 pixels, not square; align faces"):
        decode_faces(faces, np.array([2]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_faces_are_turned_as_in_all_other_stages(write, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    faces = write(*[file_of(picture(0), form, exif=exif) for form in ("JPEG", "PNG", "WEBP")])
    decoded = decode_faces(faces, np.arange(3))
    for index in range(3):
        np.testing.assert_array_equal(decoded[index], faces.image(index))


@pytest.mark.parametrize("damage", [lambda file: file[: len(file) // 2], lambda file: b"\x00" * 100])
def test_a_damaged_record_is_named(write, damage):
    faces = write(encode_jpeg(picture(0)), damage(encode_jpeg(picture(1))))
    with pytest.raises(InputError, match=r"faces\.lmdb key 1 does not decode .* replace it or mask it out"):
        decode_faces(faces, np.array([0, 1]))


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), num_identities=4, images_per_identity=6)


def test_batches_cover_every_epoch_once_and_ranks_share_them(faces):
    whole = FaceBatches(faces, tiny_recipe(), seed=3)
    ranks = [FaceBatches(faces, tiny_recipe(), seed=3, rank=r, world_size=2) for r in (0, 1)]
    for epoch in (0, 1):
        indices = np.concatenate([whole[step].indices for step in range(3 * epoch, 3 * epoch + 3)])
        assert sorted(indices) == list(range(24))
        drawn = np.random.default_rng([3, epoch]).permutation(24)
        assert np.array_equal(indices, drawn) and indices.dtype == np.int64
    for step in (0, 4):
        for rank, batches in enumerate(ranks):
            share = batches[step]
            assert share.indices.tolist() == whole[step].indices[rank::2].tolist()
            assert torch.equal(share.faces, whole[step].faces[rank::2])
    assert not np.array_equal(whole[0].indices, whole[3].indices)


def test_parts_of_a_batch_make_up_the_batch(faces):
    batch = FaceBatches(faces, tiny_recipe(), seed=3)[1]
    parts = batch.split(2)
    assert [len(part) for part in parts] == [2, 2, 2, 2]
    assert torch.equal(torch.cat([part.faces for part in parts]), batch.faces)
    assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
    settings, cpu = tiny_recipe().augmentation, torch.device("cpu")
    erased = batch.network_input(cpu, settings, 3, channels_last=False)
    erased_parts = [part.network_input(cpu, settings, 3, channels_last=False) for part in parts]
    assert torch.equal(torch.cat(erased_parts), erased)


@pytest.mark.parametrize(
    ("world_size", "message"),
    [
        (3, "batch_size=8 is global and does not divide by 3 processes; set NPROC=2 or 4"),
        (8, "batch_size=8 is global and leaves one face to each of 8 processes; set NPROC=2 or 4"),
    ],
)
def test_processes_that_do_not_fit_the_batch(faces, world_size, message):
    with pytest.raises(InputError, match=message):
        FaceBatches(faces, tiny_recipe(), seed=0, world_size=world_size)


def test_a_batch_larger_than_the_dataset(faces):
    with pytest.raises(InputError, match=r"batch_size=25 exceeds the dataset of 24 faces; set a smaller one"):
        FaceBatches(faces, tiny_recipe(batch_size=25), seed=0)


class MadeUpFaces:
    """A dataset of labels without images."""

    def __init__(self, identity_ids, num_identities):
        self.path, self.identity_ids, self.num_identities = "made up", np.array(identity_ids, np.int64), num_identities

    def __len__(self):
        return len(self.identity_ids)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "made up holds no faces; give a dataset with at least batch_size=4"),
        (
            [0, 1, 4, 1, 5],
            r"made up: face 2 has identity 4, outside 0 to 1 \(2 such faces\); number the identities from 0",
        ),
        ([0, 1, 1, -1], r"made up: face 3 has identity -1"),
    ],
)
def test_wrong_labels(labels, message):
    with pytest.raises(InputError, match=message):
        FaceBatches(MadeUpFaces(labels, 2), tiny_recipe(batch_size=4), seed=0)


def test_the_next_face_that_decodes_replaces_a_damaged_one(write):
    good = [encode_jpeg(picture(seed)) for seed in range(3)]
    faces = write(good[0], b"no image", b"no image", good[1], good[2], b"no image")
    plain = {"flip": 0, "erasing": {"probability": 0}}
    recipe = tiny_recipe(batch_size=6, augmentation=plain, skip_corrupt=True)
    batch = FaceBatches(faces, recipe, seed=0)[0]
    assert sorted(batch.corrupt) == [1, 2, 5]
    assert "key 5 does not decode" in batch.corrupt[5]
    replacement = {0: 0, 1: 3, 2: 3, 3: 3, 4: 4, 5: 0}
    for row, index in enumerate(batch.indices):
        used = replacement[int(index)]
        assert torch.equal(batch.faces[row], decode_faces(faces, np.array([used]))[0])
        assert batch.labels[row] == used % 2
    with pytest.raises(InputError, match=r"key [125] does not decode"):
        FaceBatches(faces, tiny_recipe(batch_size=6), seed=0)[0]


def test_a_dataset_without_any_decodable_face(write):
    with pytest.raises(InputError, match="none of 4 faces decodes"):
        FaceBatches(write(*[b"no image"] * 4), tiny_recipe(batch_size=4, skip_corrupt=True), seed=0)[0]
