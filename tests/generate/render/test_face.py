"""Rendered faces: reproducible to the bit, aligned, changed by every factor; circumstances do not reveal identity."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from paths import ROOT

from bench.errors import InputError
from bench.faces.open import open_faces
from bench.files import remove_parts
from generate.render import camera, head
from generate.render.dataset import render_dataset, render_jpegs
from generate.render.face import IDENTITIES_PER_SEED, PROTOCOL_IDENTITIES, factor_table, render_face
from generate.render.people import coarse_look, draw_factors, draw_identity

PLAIN = {
    "yaw_degrees": 0.0, "pitch_degrees": 0.0, "roll_degrees": 0.0, "landmark_jitter": 0.0, "age_years": 25.0,
    "smile": 0.0, "mouth_open": 0.0, "brow_raise": 0.0, "frown": 0.0, "pucker": 0.0, "eye_closing": 0.0,
    "light_azimuth_degrees": 0.0, "light_strength": 0.8, "ambient": 0.4, "exposure": 0.0, "tint": 0.0,
    "glasses": "none", "blur_pixels": 0.0, "noise": 0.0,
}  # fmt: skip


def plain(identity_seed, image_seed=0, **fixed):
    factors = replace(draw_factors(identity_seed, image_seed), **(PLAIN | fixed))
    return render_face(identity_seed, image_seed, factors).astype(int)


def render_faces(identity_seeds, image_seeds):
    seeds = [(int(i), int(j)) for i, j in zip(identity_seeds, image_seeds, strict=True)]
    return np.stack([render_face(i, j, draw_factors(i, j)) for i, j in seeds])


def difference(a, b):
    return np.abs(a - b).mean()


def test_a_face_depends_on_its_two_seeds_alone():
    together = render_faces([3, 4, 3, 5], [0, 0, 1, 7])
    alone = [render_faces([i], [j])[0] for i, j in ((5, 7), (3, 1), (4, 0), (3, 0))]
    np.testing.assert_array_equal(together, alone[::-1])
    assert together.dtype == np.uint8 and together.shape == (4, 112, 112, 3)


@pytest.mark.slow
def test_number_of_processes_changes_no_byte(monkeypatch):
    jobs = [(i, j, draw_factors(i, j)) for i in range(3) for j in range(6)]
    several = list(render_jpegs(jobs))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert several == list(render_jpegs(jobs))


def test_factors_of_a_table_are_those_of_the_images():
    table = factor_table([8, 9], [1, 2])
    assert table.loc[1, "yaw_degrees"] == draw_factors(9, 2).yaw_degrees
    assert list(table["identity_seed"]) == [8, 9] and {"age_years", "glasses", "smile"} <= set(table.columns)


@pytest.mark.parametrize(
    "fixed",
    [
        {"yaw_degrees": 50.0}, {"pitch_degrees": 18.0}, {"age_years": 80.0}, {"smile": 1.0}, {"mouth_open": 6.0},
        {"eye_closing": 1.0}, {"light_azimuth_degrees": 70.0}, {"light_warmth": 1.5}, {"glasses": "black"},
        {"background_seed": 1}, {"blur_pixels": 1.5}, {"noise": 6.0},
    ],
    ids=lambda fixed: next(iter(fixed)),
)  # fmt: skip
def test_every_factor_moves_pixels(fixed):
    assert difference(plain(11), plain(11, **fixed)) > 0.25


def test_the_jaw_drops_below_the_line_of_the_mouth_only():
    mesh = head.template()
    drop = head.weighted_fields(mesh.expression_fields, head.EXPRESSION_FIELDS, {"mouth_open": 5.0})[1]
    x, y, z = mesh.points
    middle = (np.abs(x) < 8) & (z > 30) & (mesh.part == head.HEAD)
    assert np.abs(drop[middle & (y < head.MOUTH_Y)]).max() < 0.7
    assert drop[middle & (y > head.MOUTH_Y) & (y < 60)].min() > 3.5


def test_frontal_landmarks_lie_on_the_arcface_template():
    for seed in range(8):
        factors = replace(draw_factors(seed, 0), **PLAIN)
        points = head.template().points[:, head.template().landmarks]
        projected = camera.project(
            points, camera.rotation(factors.yaw_degrees, factors.pitch_degrees), factors.distance
        )
        pixels = camera.to_fine_image(projected, camera.align(projected[:2], factors, np.random.default_rng(0)))
        assert np.abs(pixels[:2].T / camera.SUPERSAMPLING - camera.TEMPLATE).max() < 2


def test_profiles_keep_their_scale():
    points = head.template().points[:, head.template().landmarks]
    for yaw in (-90.0, 90.0):
        factors = replace(draw_factors(0, 0), **(PLAIN | {"yaw_degrees": yaw}))
        projected = camera.project(
            points, camera.rotation(factors.yaw_degrees, factors.pitch_degrees), factors.distance
        )
        scale, _ = camera.align(projected[:2], factors, np.random.default_rng(0))
        assert 0.85 <= abs(scale) <= 1.12


def test_align_finds_a_known_similarity():
    factors = replace(draw_factors(0, 0), **PLAIN)
    target = camera.TEMPLATE[:, 0] + 1j * camera.TEMPLATE[:, 1]
    source = (target - (5 - 3j)) / (1.05 * np.exp(0.2j))
    a, b = camera.align(np.stack([source.real, source.imag]), factors, np.random.default_rng(0))
    assert a == pytest.approx(1.05 * np.exp(0.2j), abs=1e-4) and b == pytest.approx(5 - 3j, abs=1e-2)


def slow_rasterise(points, triangles):
    """Reference z-buffer that tests every pixel against every triangle."""
    front = {}
    for index, triangle in enumerate(triangles):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[triangle].astype(float)
        area = (cx - ax) * (by - ay) - (cy - ay) * (bx - ax)
        if area <= 0:
            continue
        for y in range(camera.FINE):
            for x in range(camera.FINE):
                px, py = x + 0.5, y + 0.5
                b = ((px - cx) * (ay - cy) - (py - cy) * (ax - cx)) / area
                c = ((px - ax) * (by - ay) - (py - ay) * (bx - ax)) / area
                if b >= 0 and c >= 0 and b + c <= 1:
                    depth = az + b * (bz - az) + c * (cz - az)
                    pixel = y * camera.FINE + x
                    if depth > front.get(pixel, (-np.inf, 0))[0]:
                        front[pixel] = (depth, index)
    return front


def test_rasterise_agrees_with_the_slow_reference():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(-4, 36, (30, 2)), rng.uniform(-40, 40, (30, 1))], 1).astype(np.float32)
    triangles = rng.permutation(30).reshape(10, 3)
    hits = camera.rasterise(np.ascontiguousarray(points.T), triangles.T)
    expected = slow_rasterise(points, triangles)
    triangle_of = dict(zip(hits.pixel.tolist(), hits.triangle.tolist(), strict=True))
    same = [pixel for pixel in expected if triangle_of.get(pixel) == expected[pixel][1]]
    assert len(expected) > 100 and len(same) >= 0.99 * max(len(expected), len(triangle_of))
    depths = dict(zip(hits.pixel.tolist(), hits.depth.tolist(), strict=True))
    assert max(abs(depths[pixel] - expected[pixel][0]) for pixel in same) < 0.02


def test_a_person_is_nearest_to_himself_in_other_light():
    plain_faces = np.stack([plain(seed)[20:100, 20:92] for seed in range(6)])
    other_light = np.stack([plain(seed, light_azimuth_degrees=20.0)[20:100, 20:92] for seed in range(6)])
    distance = np.abs(plain_faces[:, None] - other_light[None]).mean((2, 3, 4))
    assert (distance.argmin(1) == np.arange(6)).all()


def test_circumstances_do_not_reveal_identity():
    """The mean of each circumstance varies between people no more than chance explains."""
    people, images = 60, 20
    table = factor_table(np.repeat(np.arange(people), images), np.tile(np.arange(images), people))
    for column in table.select_dtypes("number").columns.drop(["identity_seed", "image_seed"]):
        between = table.groupby("identity_seed")[column].mean().var() * images / table[column].var()
        assert 0.5 < between < 1.7, column


def test_coarse_looks_are_many_and_each_is_shared():
    looks = [coarse_look(draw_identity(seed)) for seed in range(300)]
    assert len(set(looks)) >= 8 and max(map(looks.count, looks)) < 150


def test_dataset_on_disk(tmp_path):
    render_dataset(tmp_path, num_identities=3, images_per_identity=2, seed=5)
    faces = open_faces(tmp_path / "faces.lmdb")
    table = pd.read_parquet(tmp_path / "faces.parquet")
    assert faces.identity_ids.tolist() == [0, 0, 1, 1, 2, 2] == table["identity_id"].tolist()
    assert table["identity_seed"].tolist() == [5 * IDENTITIES_PER_SEED + i for i in (0, 0, 1, 1, 2, 2)]
    raw = render_faces(table["identity_seed"], table["image_seed"])
    assert difference(faces.image(3).astype(int), raw[3].astype(int)) < 3
    remove_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.lmdb", "faces.parquet", "grid.png"]


@pytest.mark.parametrize(("seed", "num_identities"), [(-1, 2), (PROTOCOL_IDENTITIES, 2), (0, IDENTITIES_PER_SEED + 1)])
def test_datasets_cannot_use_identities_of_the_protocols(tmp_path, seed, num_identities):
    with pytest.raises(InputError, match=rf"seed={seed}, num_identities={num_identities}.*belong to the protocols"):
        render_dataset(tmp_path, num_identities=num_identities, images_per_identity=1, seed=seed)
    assert not list(tmp_path.iterdir())


def test_rendering_imports_neither_torch_nor_the_rest_of_generate():
    code = (
        "import sys, pkgutil, importlib, generate.render as render\n"
        "for module in pkgutil.iter_modules(render.__path__):\n"
        "    importlib.import_module(f'generate.render.{module.name}')\n"
        "ours = [name for name in sys.modules if name.startswith('generate.')]\n"
        "print([name for name in ours if not name.startswith('generate.render')], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"
