"""Published datasets are downloaded instead of generated."""

import numpy as np
import pytest
from local_hub import COMMIT

from bench.config.benchmarks import load_benchmark
from bench.config.generator import Vec2FaceGenerator
from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.files import sha256
from generate.draw.dataset import make_dataset


def test_a_published_dataset_is_downloaded_instead_of_drawn(hub, tmp_path):
    with FaceWriter(tmp_path / "theirs.lmdb") as writer:
        for index in range(6):
            writer.write(encode_jpeg(np.full((112, 112, 3), 40 * index, np.uint8)), index // 2)
    address = "/datasets/BooBooWu/Vec2Face/resolve/v1/HSFaces/hsface10k.lmdb"
    hub.files[address] = (tmp_path / "theirs.lmdb").read_bytes()
    settings = Vec2FaceGenerator(kind="vec2face", num_identities=10_000, source="hub", revision="v1")
    made = make_dataset(tmp_path / "faces", settings, seed=0, weights=tmp_path / "weights", device="cpu")
    assert (made.num_images, made.num_identities) == (6, 3)
    assert made.path == str(tmp_path / "weights" / "hsface10k.lmdb")
    assert made.content_sha256 == sha256(tmp_path / "theirs.lmdb")
    assert f"commit {COMMIT[:12]}" in made.statistics.source
    assert settings.weight_files == []
    too_large = settings.model_copy(update={"num_identities": 100_000})
    with pytest.raises(InputError, match="num_identities=100000 is not on the Hub; give 10000 or 20000, or source"):
        make_dataset(tmp_path / "more", too_large, seed=0, weights=tmp_path / "weights", device="cpu")


def test_vfaces_come_from_their_dataset_repository_and_are_counted(hub, tmp_path, capsys):
    """VFace10K holds some 452,454 images, not 500,000; the card states what is there."""
    with FaceWriter(tmp_path / "theirs.lmdb") as writer:
        for index in range(5):
            writer.write(encode_jpeg(np.full((112, 112, 3), 40 * index, np.uint8)), index // 2)
    hub.files["/datasets/BooBooWu/Vec2Face_plus/resolve/main/VFaces/vface10k.lmdb"] = (
        tmp_path / "theirs.lmdb"
    ).read_bytes()
    settings = load_benchmark("v10k_published").generator
    made = make_dataset(tmp_path / "faces", settings, seed=0, weights=tmp_path / "weights", device="cpu")
    assert (made.num_images, made.num_identities) == (5, 3)
    assert "holds 5 images of 3 identities, not 500,000 of 10,000" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"num_identities=300000 is not on the Hub; give 10000 or 20000 or 100000"):
        Vec2FaceGenerator(kind="vec2face", num_identities=300_000, source="hub", generator_weights="main_model.pth")


def test_a_size_between_the_published_ones_is_refused_when_the_settings_are_read():
    with pytest.raises(ValueError, match="num_identities=10500 is not on the Hub"):
        Vec2FaceGenerator(kind="vec2face", num_identities=10_500, source="hub")
    assert Vec2FaceGenerator(kind="vec2face", num_identities=10_500).num_identities == 10_500
