"""Images of a range of identities by one command: slices, targets, people in given photos, and what is refused."""

from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from small_generation import write_pose_model

from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark
from bench.config.recipe import Backbone
from bench.errors import InputError
from bench.faces.face import ARCFACE_TEMPLATE
from bench.faces.lmdb_file import LmdbFaces
from bench.faces.pixels import to_pixels
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone
from generate.__main__ import main
from generate.draw.faces import Request, _adapt_settings, parse_range, parse_vector, vector_text
from generate.draw.plan import MASK_RATIO
from generate.identities import sample_identities
from generate.networks.masks import draw_masks
from generate.vec2face import Architecture, Vec2Face, load_generator, save_generator

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with small networks, and a file of benchmarks whose 10k entry names them."""
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    save_generator(Vec2Face(Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)), folder / "generator.safetensors")
    settings = Backbone(depth=18, width=8, embedding_dim=16)
    for name in ("identity", "quality"):
        save_backbone(folder / f"{name}.safetensors", build_backbone(settings), settings)
    document = yaml.safe_load(BENCHMARKS_PATH.read_text())
    document["benchmarks"] = {"10k": document["benchmarks"]["10k"]}
    document["benchmarks"]["10k"]["generator"] |= {
        "generator_weights": "generator.safetensors",
        "identity_weights": "identity.safetensors",
        "quality_weights": "quality.safetensors",
        "batch_size": 4,
        "attributes": {"max_steps": 1},
    }
    for kind in ("pca", "file"):
        described = {"identities": kind, "centers": "centers.npy"}
        entry = document["benchmarks"]["10k"]
        document["benchmarks"][kind] = entry | {"generator": entry["generator"] | described}
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump(document))
    vectors = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
    np.save(folder / "centers.npy", vectors)
    return folder


@pytest.fixture
def command(small, monkeypatch):
    def run(name, *flags):
        shared = ["--weights", str(small), "--config", str(small / "benchmarks.yaml"), "--device", "cpu"]
        monkeypatch.setattr("sys.argv", ["generate", name, *map(str, flags), *shared])
        return main()

    return run


def images(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.jpg"))}


@pytest.mark.slow
def test_a_slice_is_that_part_of_the_whole_under_the_same_names(command, small, tmp_path):
    given = ("--centers", small / "centers.npy", "--images", 3)
    command("faces", *given, "--range", "0:4", "--out", tmp_path / "all")
    command("faces", *given, "--range", "2:4", "--out", tmp_path / "part")
    every, part = images(tmp_path / "all" / "images"), images(tmp_path / "part" / "images")
    assert sorted({name.split("/")[0] for name in every}) == ["000000", "000001", "000002", "000003"]
    assert len(every) == 12
    assert part.items() <= every.items()
    assert sorted(p.name for p in (tmp_path / "part").iterdir()) == ["faces.parquet", "grid.png", "images"]
    table = pd.read_parquet(tmp_path / "part" / "faces.parquet")
    assert table["candidate"].tolist() == [2, 2, 2, 3, 3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pca", "file"])
def test_people_are_those_of_the_benchmark(command, small, tmp_path, kind):
    """The same bytes as with --centers of the vectors that the entry draws."""
    people = sample_identities(4, 0, kind=kind, centers=small / "centers.npy", feature_dim=16)
    np.save(tmp_path / "drawn.npy", people)
    flags = ("--scale", kind, "--range", "1:4", "--images", 2)
    command("faces", *flags, "--out", tmp_path / "own")
    command("faces", *flags, "--centers", tmp_path / "drawn.npy", "--out", tmp_path / "given")
    own = images(tmp_path / "own" / "images")
    assert len(own) == 6 and own == images(tmp_path / "given" / "images")
    with pytest.raises(InputError, match="range 5:9 ends beyond the 6" if kind == "file" else "give --range"):
        command("faces", "--scale", kind, *(("--range", "5:9") if kind == "file" else ()), "--out", tmp_path / "none")


def test_a_call_that_was_killed_before_its_shards_went_is_finished(command, small, tmp_path, monkeypatch):
    flags = ("--centers", small / "centers.npy", "--images", 1, "--range", "0:2")
    command("faces", *flags, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("generate.draw.faces.remove_parts", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            command("faces", *flags, "--out", tmp_path / "killed")
    assert (tmp_path / "killed" / "images").exists() and (tmp_path / "killed" / "parts").exists()
    command("faces", *flags, "--out", tmp_path / "killed")
    assert images(tmp_path / "killed") == images(tmp_path / "whole")
    assert not (tmp_path / "killed" / "parts").exists()


def test_an_lmdb_of_drawn_identities(command, tmp_path, capsys):
    command("faces", "--range", "5:6", "--images", 2, "--lmdb", "--out", tmp_path / "out")
    assert "2 images of 1 identities" in capsys.readouterr().out
    assert len(LmdbFaces(tmp_path / "out" / "faces.lmdb")) == 2
    assert not (tmp_path / "out" / "images").exists()


def test_every_image_gets_a_target_yaw_and_the_vectors_stay(command, monkeypatch, small, tmp_path, capsys):
    read = lambda path, device="cpu", yaw_input=None: lambda images: 90 * images.mean((1, 2, 3))  # noqa: E731
    monkeypatch.setattr("generate.draw.dataset.yaw_estimator", read)
    (small / "6DRepNet_300W_LP_AFLW2000.pth").write_bytes(b"stands in")
    flags = ("--centers", small / "centers.npy", "--images", 2, "--yaw", 60, -60, "--quality", 5)
    command("faces", *flags, "--range", "1:3", "--out", tmp_path / "out")
    (small / "6DRepNet_300W_LP_AFLW2000.pth").unlink()
    table = pd.read_parquet(tmp_path / "out" / "faces.parquet")
    assert sorted(table["target_yaw"].tolist()) == [-60, -60, 60, 60]
    assert table["sigma"].tolist() == pytest.approx([0.7] * 4)
    assert "met their targets" in capsys.readouterr().out


def test_a_vector_is_one_person_who_stays_as_they_are(command, small, tmp_path):
    vector = np.load(small / "centers.npy")[2]
    text = vector_text(vector)
    assert np.array_equal(parse_vector(text), vector)
    command("faces", "--vector", text, "--noise", 0, "--images", 3, "--lmdb", "--out", tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "faces.parquet")
    assert table["sigma"].tolist() == [0] * 3
    assert (table["steps"] == 0).all()
    drawn = load_generator(small / "generator.safetensors")
    noise, ratios = draw_masks(0, 0, range(3), 49, MASK_RATIO)
    with torch.no_grad():
        vectors = torch.from_numpy(np.repeat(vector[None], 3, 0))
        expected = to_pixels(drawn(vectors, torch.from_numpy(noise), torch.from_numpy(ratios)))
    images = LmdbFaces(tmp_path / "out" / "faces.lmdb")
    for row in range(3):
        assert np.abs(images.image(row).astype(int) - expected[row].astype(int)).mean() < 3  # JPEG


@pytest.mark.parametrize("text", ["", "abc", "?!", "AAAA", "AAA="])
def test_a_text_that_is_no_vector_is_refused(command, tmp_path, text):
    with pytest.raises(
        InputError, match=r"vector .* copy it whole|the vector has shape .* the generator takes \(N, 16\)"
    ):
        command("faces", "--vector", text, "--out", tmp_path / "out")


def test_a_vector_with_nan_is_refused(command, tmp_path):
    vector = np.ones(16, np.float32)
    vector[3] = np.nan
    with pytest.raises(InputError, match="the vector: 1 of 1 vectors hold NaN"):
        command("faces", "--vector", vector_text(vector), "--out", tmp_path / "out")


@pytest.fixture
def landmarks_command(small, command, monkeypatch):
    """As ``command``, with the entry v10k and the small pose model of the small generator."""
    write_pose_model(small)
    document = yaml.safe_load((small / "benchmarks.yaml").read_text())
    generator = document["benchmarks"]["10k"]["generator"]
    document["benchmarks"]["v10k"] = document["benchmarks"]["10k"] | {
        "generator": generator | {"pose": {"share": 0.2, "weights": "pose.safetensors"}}
    }
    (small / "benchmarks.yaml").write_text(yaml.safe_dump(document))
    read = lambda path, device="cpu", yaw_input=None: lambda images: 90 * images.mean((1, 2, 3))  # noqa: E731
    monkeypatch.setattr("generate.draw.dataset.yaw_estimator", read)
    (small / "6DRepNet_300W_LP_AFLW2000.pth").write_bytes(b"stands in")
    yield command
    (small / "6DRepNet_300W_LP_AFLW2000.pth").unlink()


def test_a_yaw_by_landmarks_is_drawn_in_one_pass(landmarks_command, small, tmp_path, capsys):
    flags = ("--centers", small / "centers.npy", "--range", "1:3", "--images", 4, "--yaw", 60, -60)
    landmarks_command("faces", *flags, "--by", "landmarks", "--out", tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "faces.parquet")
    assert sorted(table["landmark_yaw"].tolist()) == [-60] * 4 + [60] * 4
    assert table["target_yaw"].isna().all() and (table["steps"] == 0).all()
    assert "8 images of 2 identities, " in capsys.readouterr().out


@pytest.mark.slow
def test_own_landmark_pictures_are_used_in_equal_shares(landmarks_command, small, tmp_path, photos):
    np.save(tmp_path / "points.npy", np.stack([ARCFACE_TEMPLATE, ARCFACE_TEMPLATE + 3, ARCFACE_TEMPLATE - 3]))
    flags = ("--images", 6, "--landmarks", tmp_path / "points.npy")
    landmarks_command("faces", "--centers", small / "centers.npy", *flags, "--range", "0:2", "--out", tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "faces.parquet")
    assert sorted(table["picture"].tolist()) == [0] * 4 + [1] * 4 + [2] * 4
    assert table["landmark_yaw"].isna().all()
    with pytest.raises(InputError, match=r"the point \(.*\) lies outside the image"):
        np.save(tmp_path / "points.npy", 3 * ARCFACE_TEMPLATE[None])
        landmarks_command("faces", "--range", "0:2", *flags, "--out", tmp_path / "more")


def test_landmarks_that_cannot_be_used_are_said(landmarks_command, tmp_path):
    by = ("--by", "landmarks", "--range", "0:1", "--out", tmp_path / "out")
    with pytest.raises(InputError, match=r"got yaws \(\) and landmarks None; give either yaws or a file"):
        landmarks_command("faces", *by)
    with pytest.raises(InputError, match="give either yaws or a file of landmarks"):
        landmarks_command("faces", *by, "--yaw", 3, "--landmarks", tmp_path / "x.npy")
    with pytest.raises(InputError, match=r"x.npy does not exist; give landmark pictures"):
        landmarks_command("faces", *by, "--landmarks", tmp_path / "x.npy")
    settings = load_benchmark("10k").generator
    request = Request(people=tmp_path, by_landmarks=True, landmarks=tmp_path / "x.npy")
    adapted = _adapt_settings(load_benchmark("v10k").generator, request)
    assert (adapted.perturbation.sigmas, adapted.pose.share) == ((0.0,), 1.0)  # as pose_control.py draws people
    with pytest.raises(InputError, match=r"vec2face_generator.pth has no pose model, .* such as v10k"):
        _adapt_settings(settings, Request(yaw_degrees=(60.0,), by_landmarks=True))


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(1)
    for name in ("ada", "ben", "cyd"):
        Image.fromarray(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_images_of_people_are_named_as_they_are_and_need_consent(command, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("generate.identities._NORM_RANGE", (0, 1000))  # an untrained network has no scale
    out = tmp_path / "made"
    command("faces", "--from-images", photos, "--images", 2, "--out", out)
    assert "only with their consent" in capsys.readouterr().err
    assert sorted(p.name for p in (out / "images").iterdir()) == ["ada", "ben", "cyd"]
    assert pd.read_parquet(out / "faces.parquet")["sigma"].tolist() == pytest.approx([0.2] * 6)


def test_centres_of_a_folder_are_mean_features(command, photos, tmp_path, small):
    for person, files in (("x", ("ada", "ben")), ("y", ("cyd",))):
        (tmp_path / "people" / person).mkdir(parents=True)
        for file in files:
            (photos / f"{file}.png").rename(tmp_path / "people" / person / f"{file}.png")
    command("centers", tmp_path / "people", "--out", tmp_path / "centers.npy")
    command("centers", tmp_path / "people" / "x", "--out", tmp_path / "single.npy")
    centers, single = np.load(tmp_path / "centers.npy"), np.load(tmp_path / "single.npy")
    assert centers.shape == (2, 16)
    np.testing.assert_allclose(centers[0], single.mean(0), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_made_is_said(command, photos, small, tmp_path):
    with pytest.raises(InputError, match="give --range FIRST:END"):
        command("faces", "--out", tmp_path / "out")
    for text in ("5", "5:5", "a:b", "-1:3", "²:³"):
        with pytest.raises(InputError, match="is not FIRST:END"):
            parse_range(text)
    with pytest.raises(InputError, match="range 4:9 ends beyond the 6 identities"):
        command("faces", "--centers", small / "centers.npy", "--range", "4:9", "--out", tmp_path / "out")
    with pytest.raises(InputError, match="holds other files"):
        command("faces", "--range", "0:1", "--out", photos)
    Image.new("RGB", (250, 250)).save(photos / "dot.png")
    with pytest.raises(InputError, match=r"dot\.png is 250 x 250 pixels, the size of LFW's photographs.*; align faces"):
        command("centers", photos, "--out", tmp_path / "c.npy")
    with pytest.raises(InputError, match="does not exist; give an LMDB or a folder"):
        command("centers", tmp_path / "none", "--out", tmp_path / "c.npy")
