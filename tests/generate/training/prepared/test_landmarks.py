"""Landmarks of a training set: from points, text, the renderer's truth or a network; what is left out and refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from face_files import make_faces
from generator_training import face_points, make_prepared
from torch import nn

from bench.errors import InputError
from bench.faces.face import ARCFACE_TEMPLATE
from bench.faces.folders import FolderFaces
from bench.faces.open import open_faces
from bench.files import read_json
from generate.networks.plus.pictures import draw_landmarks
from generate.render import camera, head
from generate.render.dataset import render_dataset
from generate.render.face import face_landmarks, factor_table
from generate.render.people import draw_factors
from generate.training.data import open_training_set
from generate.training.prepared.landmarks import five_landmarks, landmarks_of_faces, mirrored_landmarks
from generate.training.prepared.prepare import Preparation, prepare

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), num_identities=3, images_per_identity=2)


def read(faces, source, tmp_path):
    return landmarks_of_faces(faces, source, tmp_path / "parts", "cpu")


def test_a_training_set_holds_a_picture_of_every_faces_points(faces, tmp_path):
    points = face_points(6)
    np.save(tmp_path / "points.npy", points)
    folder, _ = make_prepared(tmp_path, faces, landmarks=tmp_path / "points.npy", mirror=True)
    training = open_training_set(folder / "faces.lmdb")
    for index in range(6):
        assert np.array_equal(training.landmark_picture(index), draw_landmarks(points[index]))
        mirrored = mirrored_landmarks(points[index : index + 1])[0]
        assert np.array_equal(training.landmark_picture(6 + index), draw_landmarks(mirrored))
    assert training.identity_ids.tolist() == [0, 0, 1, 1, 2, 2] * 2
    assert "landmarks_sha256" in read_json(folder / "prepared.json")
    again = tmp_path / "again"  # a set that has features already keeps them
    np.save(tmp_path / "twice.npy", np.concatenate([points, points]))
    prepare(open_faces(folder / "faces.lmdb"), Preparation(landmarks=tmp_path / "twice.npy"), again)
    assert np.array_equal(open_training_set(again / "faces.lmdb").features(3), training.features(3))


def test_mirrored_points_are_those_of_the_mirrored_picture():
    points = np.rint(face_points(3))
    for own, other in zip(points, mirrored_landmarks(points), strict=True):
        assert np.array_equal(draw_landmarks(other), draw_landmarks(own)[:, ::-1])
    assert np.array_equal(mirrored_landmarks(mirrored_landmarks(points)), points)


def write_text(path, names, points):
    lines = [" ".join([name, *map(str, row.ravel())]) for name, row in zip(names, points, strict=True)]
    path.write_text("\n".join(lines))


def test_faces_of_a_folder_without_a_line_are_left_out(faces, tmp_path, capsys):
    for index in range(6):
        image = tmp_path / "folder" / f"p{faces.identity_ids[index]}" / f"{index}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(faces.encoded(index))
    points = face_points(6)
    kept = [0, 1, 4]  # p1 has no landmarks at all, p2 those of one image
    write_text(tmp_path / "points.txt", [f"p{i // 2}/{i}.jpg" for i in kept], points[kept])
    found = read(FolderFaces(tmp_path / "folder"), tmp_path / "points.txt", tmp_path)
    assert np.allclose(found[kept], points[kept]) and np.isnan(found[[2, 3, 5]]).all()
    folder, _ = make_prepared(tmp_path, open_faces(tmp_path / "folder"), landmarks=tmp_path / "points.txt")
    assert "left out 3 of 6 faces without landmarks" in capsys.readouterr().err
    training = open_training_set(folder / "faces.lmdb")
    assert training.identity_ids.tolist() == [0, 0, 1] and np.load(folder / "centers.npy").shape[0] == 2
    assert training.encoded(2) == faces.encoded(4)
    with pytest.raises(InputError, match="is not a folder of images, whose names landmarks need"):
        read(faces, tmp_path / "points.txt", tmp_path)
    write_text(tmp_path / "other.txt", ["q/1.jpg"], points[:1])
    with pytest.raises(InputError, match="has landmarks of none of the 6 faces"):
        read(open_faces(tmp_path / "folder"), tmp_path / "other.txt", tmp_path)


def test_landmarks_of_rendered_faces_are_where_the_renderer_drew_them(tmp_path):
    render_dataset(tmp_path, num_identities=2, images_per_identity=2, seed=3)
    rendered = open_faces(tmp_path / "faces.lmdb")
    found = read(rendered, tmp_path / "faces.parquet", tmp_path)
    seeds = [3_000_000, 3_000_000, 3_000_001, 3_000_001]
    expected = [face_landmarks(seed, i % 2, draw_factors(seed, i % 2)) for i, seed in enumerate(seeds)]
    assert np.array_equal(found, np.stack(expected))
    table = pd.read_parquet(tmp_path / "faces.parquet")
    for name, change, message in (
        ("short", table.iloc[:3], "has 3 rows, but there are 4 faces"),
        ("order", table.iloc[[0, 2, 1, 3]], "has other identities than"),
        ("columns", table.drop(columns="smile"), "has no column smile; give the faces.parquet of rendered faces"),
    ):
        change.to_parquet(tmp_path / f"{name}.parquet")
        with pytest.raises(InputError, match=message):
            read(rendered, tmp_path / f"{name}.parquet", tmp_path)
    (tmp_path / "no.parquet").write_bytes(b"none")
    with pytest.raises(InputError, match="is not a Parquet file"):
        read(rendered, tmp_path / "no.parquet", tmp_path)


def test_a_frontal_rendered_face_has_its_landmarks_at_the_template_and_a_turned_one_its_nose_aside():
    """Beside the projection written out by hand, without noise and roll."""
    frontal = draw_factors(5, 0)
    plain = type(frontal)(**vars(frontal) | {"yaw_degrees": 0.0, "pitch_degrees": 0.0, "roll_degrees": 0.0})
    assert np.abs(face_landmarks(5, 0, plain) - ARCFACE_TEMPLATE).max() < 8
    turned = type(frontal)(**vars(plain) | {"yaw_degrees": 60.0, "landmark_jitter": 0.0})
    points = face_landmarks(5, 0, turned)
    assert points[2, 0] - points[:2, 0].mean() > 12
    from generate.render.face import _expressive_surface
    from generate.render.people import draw_identity

    surface = _expressive_surface(draw_identity(5), turned)[:, head.template().landmarks]
    projected = camera.project(surface, camera.rotation(60.0), turned.distance)
    a, b = camera.similarity_to_template(projected[0] + 1j * projected[1])
    expected = a * (projected[0] + 1j * projected[1]) + b
    assert np.allclose(points, np.stack([expected.real, expected.imag], 1), atol=0.51)
    assert len(factor_table([5], [0])) == 1


@pytest.mark.parametrize("num_points", [5, 68, 98])
@pytest.mark.parametrize("unit", ["pixels", "share", "symmetric"])
def test_outputs_of_networks_become_five_points_in_pixels(num_points, unit):
    points = face_points(4)
    places = {5: [0, 1, 2, 3, 4], 68: [slice(36, 42), slice(42, 48), 30, 48, 54], 98: [96, 97, 54, 76, 82]}[num_points]
    outputs = np.full((4, num_points, 2), 7.0)
    for number, place in enumerate(places):
        outputs[:, place] = points[:, number][:, None] if isinstance(place, slice) else points[:, number]
    outputs = {"pixels": outputs, "share": (outputs + 0.5) / 112, "symmetric": (outputs + 0.5) / 56 - 1}[unit]
    assert np.allclose(five_landmarks(outputs.reshape(4, -1).astype(np.float32), "n"), points, atol=1e-3)


def test_networks_that_find_something_else_are_refused():
    with pytest.raises(InputError, match="n gives 8 numbers a face; give a network of 5, 68 or 98 points x, y"):
        five_landmarks(np.zeros((2, 8), np.float32), "n")
    with pytest.raises(InputError, match=r"n gives 7 numbers a face"):
        five_landmarks(np.zeros((2, 7), np.float32), "n")
    with pytest.raises(InputError, match=r"n finds landmarks that are \d+ pixels from the ArcFace template"):
        five_landmarks(np.full((2, 10), 5000, np.float32), "n")
    with pytest.raises(InputError, match="n finds landmarks that are nan pixels"):
        five_landmarks(np.full((2, 10), np.nan, np.float32), "n")


class Finder(nn.Module):
    """Landmarks at the template, moved with the brightness of the image."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 10)
        nn.init.constant_(self.linear.weight, 10 / 3)
        self.linear.bias = nn.Parameter(torch.from_numpy(ARCFACE_TEMPLATE).float().flatten())

    def forward(self, images):
        return self.linear(nn.functional.avg_pool2d(images, 112).flatten(1))


def test_an_onnx_network_finds_landmarks_and_resumes(faces, tmp_path, monkeypatch):
    pytest.importorskip("onnx2torch")
    settings = {"dynamo": False, "opset_version": 13, "dynamic_axes": {"x": {0: "B"}}, "input_names": ["x"]}
    torch.onnx.export(Finder(), torch.zeros(1, 3, 112, 112), str(tmp_path / "finder.onnx"), **settings)
    found = read(faces, tmp_path / "finder.onnx", tmp_path)
    means = [faces.image(i).astype(np.float64).mean() / 127.5 - 1 for i in range(6)]
    expected = ARCFACE_TEMPLATE[None] + 10 * np.array(means)[:, None, None]
    assert np.allclose(found, expected, atol=1e-3)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["landmarks-000000000.npy"]
    (tmp_path / "finder.onnx").write_bytes(b"gone")  # what was computed is read again
    assert np.array_equal(read(faces, tmp_path / "finder.onnx", tmp_path), found)


def test_bad_points_are_named(faces, tmp_path):
    points = face_points(6)
    points[4, 1] = 118, 40
    for name, array, message in (
        ("outside", points, r"outside\.npy: landmarks of .*key 4: the point \(118, 40\) lies outside the image of 112"),
        ("few", points[:5], r"few\.npy has shape \(5, 5, 2\) and type float64; give five points x, y of each of the 6"),
        ("text", np.full((6, 5, 2), "a"), r"text\.npy has shape \(6, 5, 2\) and type <U1"),
        ("nan", np.full((6, 5, 2), np.nan), r"nan\.npy has landmarks of none of the 6 faces"),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(InputError, match=message):
            read(faces, tmp_path / f"{name}.npy", tmp_path)
    with pytest.raises(InputError, match=r"gone\.npy does not exist; give a text file of landmarks, a \.npy"):
        read(faces, tmp_path / "gone.npy", tmp_path)
