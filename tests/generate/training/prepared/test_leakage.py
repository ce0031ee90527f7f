"""Leakage check: its report against a hand-made case, copies of trained faces, and what is refused."""

from dataclasses import asdict

import numpy as np
import pytest
from face_files import make_faces
from generator_training import make_prepared, save_network

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces
from bench.files import read_json
from generate.training.prepared.leakage import NearFace, check_leakage, leakage_report


def test_the_report_of_a_hand_made_case():
    cosines, nearest = np.array([0.1, 0.9, 0.5, 0.6], np.float32), np.array([3, 1, 0, 2])
    real_cosines = np.linspace(0, 0.55, 1000, dtype=np.float32)
    report, kept = leakage_report(cosines, nearest, real_cosines, np.array([0, 0, 1, 1]))
    assert report.max_cosine == pytest.approx(0.55 * 0.999, abs=1e-5)
    assert kept.tolist() == [0, 2]
    assert (report.num_dropped, report.num_identities_with_drops) == (2, 2)
    first, second = report.worst[:2]
    assert first == NearFace(face=1, identity_id=0, trained_identity=1, cosine=0.9)
    assert second.face == 3
    assert report.real_to_nearest_other["quantile_0.5"] == pytest.approx(0.275, abs=1e-4)
    assert leakage_report(cosines, nearest, real_cosines, np.array([0, 0, 1, 1]), max_cosine=0.95)[1].tolist() == [
        0,
        1,
        2,
        3,
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("set")
    return make_prepared(directory, make_faces(directory, num_identities=4, images_per_identity=3))


def test_copies_of_trained_faces_are_found_and_dropped(prepared, tmp_path):
    folder, weights = prepared
    real = open_faces(folder / "faces.lmdb")
    rng = np.random.default_rng(5)
    with FaceWriter(tmp_path / "generated.lmdb") as writer:
        writer.write(real.encoded(4), 0)  # a trained face itself
        for identity in (0, 1, 1):
            writer.write(encode_jpeg(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)), identity)
    report = check_leakage(tmp_path / "generated.lmdb", folder, weights, tmp_path / "out")
    assert report.worst[0].face == 0
    assert report.worst[0].trained_identity == real.identity_ids[4]
    kept = np.load(tmp_path / "out" / "kept.npy")
    assert 0 not in kept and len(kept) == 4 - report.num_dropped
    assert len(open_faces(tmp_path / "generated.lmdb", tmp_path / "out" / "kept.npy")) == len(
        kept
    )  # kept.npy is a mask
    names = {"faces": "generated.lmdb", "trained_on": read_json(folder / "prepared.json")}
    assert read_json(tmp_path / "out" / "leakage.json") == asdict(report) | names
    assert (tmp_path / "out" / "leakage.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_named(prepared, tmp_path):
    folder, weights = prepared
    with pytest.raises(InputError, match=r"holds no prepared\.json"):
        check_leakage(folder / "faces.lmdb", tmp_path, weights, tmp_path)
    other = save_network(tmp_path / "other.safetensors", feature_dim=8)
    with pytest.raises(InputError, match=r"gives features of width 8, but .*centers\.npy has 16"):
        check_leakage(folder / "faces.lmdb", folder, other, tmp_path)
