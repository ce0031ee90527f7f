"""Published datasets are downloaded instead of generated."""

import numpy as np
import pytest
from local_hub import COMMIT

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


def test_a_size_between_the_published_ones_is_refused_when_the_settings_are_read():
    with pytest.raises(ValueError, match="num_identities=10500 is not on the Hub"):
        Vec2FaceGenerator(kind="vec2face", num_identities=10_500, source="hub")
    assert Vec2FaceGenerator(kind="vec2face", num_identities=10_500).num_identities == 10_500
