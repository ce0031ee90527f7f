"""Datasets with images drawn by landmark pictures: what they hold, that AttrOP keeps the pose, and that batches do not
matter."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from small_generation import DIM, PLAN, Read, change, make_posed_generator, settings

from bench.config.poses import LandmarkPoses
from bench.errors import InputError
from bench.faces.open import open_faces
from bench.faces.pixels import to_network_input, to_pixels
from generate.draw.attrop import PRESETS, Jobs, optimise
from generate.draw.dataset_run import Networks
from generate.draw.engine import generate_dataset
from generate.draw.plan import identity_rows, image_jobs
from generate.networks.masks import POSED_MASK_RATIO, draw_masks
from generate.networks.plus.pictures import draw_landmarks
from generate.render.turned import turned_landmarks

pytestmark = pytest.mark.usefixtures("one_thread")
POSE = {"share": 0.6, "yaw_degrees": (40.0, -40.0), "pitch_degrees": (0.0, 10.0)}
POSED = change(PLAN, pose=POSE, num_identities=4, attributes={"pose_share": 0.0, "max_steps": 1, "quality": 1.0})


@pytest.fixture(scope="module")
def networks():
    return Networks(make_posed_generator(), Read(DIM, 1), Read(1, 2), Read(1, 3))


@pytest.fixture(scope="module")
def made(networks, tmp_path_factory):
    directory = tmp_path_factory.mktemp("posed")
    return directory, generate_dataset(directory, POSED, networks)


def test_a_dataset_holds_the_poses_that_were_asked_for(made):
    directory, drawn = made
    table = pd.read_parquet(directory / "faces.parquet")
    posed = table[table["picture"] >= 0]
    assert (table.groupby("identity_id").size() == 5).all() and (posed.groupby("identity_id").size() == 3).all()
    assert set(posed["landmark_yaw"]) == {40, -40} and set(posed["landmark_pitch"]) == {0, 10}
    assert table[table["picture"] < 0]["landmark_yaw"].isna().all()
    assert table["target_yaw"].isna().all() and (posed["steps"] == 0).all()
    assert np.isfinite(posed["yaw"]).all()
    statistics = drawn.statistics
    assert (statistics.landmark_images, statistics.attribute_images) == (12, 0)
    assert statistics.landmark_images_accepted == int(posed["accepted"].sum())
    miss = (posed["yaw"] - posed["landmark_yaw"]).abs().mean()
    assert statistics.landmark_yaw_miss_mean == pytest.approx(miss, rel=1e-5)
    assert statistics.landmark_identity_cosine_mean == pytest.approx(posed["identity_cosine"].mean(), rel=1e-5)


def test_an_image_is_that_of_its_vector_mask_and_picture(made, networks):
    """Drawn again one by one, from the plan alone."""
    directory, _ = made
    faces, table = open_faces(directory / "faces.lmdb"), pd.read_parquet(directory / "faces.parquet")
    row = int(np.flatnonzero(table["picture"] >= 0)[1])
    candidate, image = int(table["candidate"][row]), int(table["image"][row])
    vectors = np.load(directory / "parts" / "vectors.npy")
    rows = identity_rows(POSED, int(table["identity_id"][row]), candidate, vectors[int(table["identity_id"][row])])
    noise, ratio = draw_masks(POSED.seed, candidate, [image], 49, POSED_MASK_RATIO)
    picture = draw_landmarks(turned_landmarks(table["landmark_yaw"][row], table["landmark_pitch"][row]))
    inputs = [torch.from_numpy(values) for values in (rows["vector"][image][None], noise, ratio)]
    drawn = to_pixels(networks.generator(*inputs, to_network_input(picture[None])))[0]
    assert np.abs(faces.image(row).astype(int) - drawn).mean() < 8  # JPEG lies between them
    without = to_pixels(networks.generator(*inputs))[0]
    assert np.abs(faces.image(row).astype(int) - without).mean() > np.abs(faces.image(row).astype(int) - drawn).mean()


def test_masks_of_posed_images_are_those_of_pose_generation():
    rows = identity_rows(change(POSED, images_per_identity=50), 0, 0, np.ones(DIM, np.float32))
    is_posed = rows["picture"] >= 0
    assert is_posed.sum() == 30 and rows["mask_ratio"][is_posed].min() >= 0.8 and rows["mask_ratio"].max() <= 1
    assert rows["mask_ratio"][is_posed].max() <= 0.9
    assert len(set(rows["mask_ratio"][is_posed].tolist())) == 30  # each image has its own, not each batch
    assert rows["mask_ratio"][~is_posed].mean() < 0.6


def test_without_poses_rows_are_what_they_were():
    plain = replace(PLAN, settings=PLAN.settings)
    rows = identity_rows(plain, 0, 3, np.ones(DIM, np.float32))
    assert not {"picture", "landmark_yaw", "landmark_pitch"} & rows.keys()
    posed = identity_rows(change(plain, pose=POSE | {"share": 0.0}), 0, 3, np.ones(DIM, np.float32))
    for name, values in rows.items():
        assert np.array_equal(values, posed[name], equal_nan=values.dtype.kind == "f"), name


def test_batches_need_not_divide_by_the_number_of_poses(made, networks, tmp_path):
    """Four pictures; matrix products of other batch sizes may round differently, so pixels may differ by one."""
    generate_dataset(tmp_path, change(POSED, batch_size=5), networks)
    tables = [pd.read_parquet(folder / "faces.parquet") for folder in (made[0], tmp_path)]
    for name in ("picture", "landmark_yaw", "landmark_pitch", "identity_id"):
        assert tables[0][name].equals(tables[1][name]), name
    np.testing.assert_allclose(tables[0]["yaw"], tables[1]["yaw"], atol=0.05)


@pytest.mark.slow
def test_attrop_keeps_the_pose_in_its_last_image(networks):
    """The published code draws the last image without the pose."""
    plan = change(POSED, pose=POSE | {"share": 1.0, "max_steps": 3}, images_per_identity=4)
    rows = identity_rows(plan, 0, 0, np.ones(DIM, np.float32))
    jobs = image_jobs(plan, rows, np.arange(4), with_yaw=True)
    assert np.isfinite(jobs.targets["quality"]).all() and sorted(jobs.targets["yaw"]) == [-40, -40, 40, 40]
    goals = PRESETS["v1"].goals(networks.quality, networks.yaw)
    limits = {"preset": PRESETS["v1"], "batch_size": 3, "max_steps": 3}
    outcomes = optimise(networks.generator, networks.identity, goals, jobs, **limits)
    assert outcomes.steps.max() > 0
    inputs = [torch.from_numpy(values) for values in (outcomes.vectors, jobs.noise, jobs.mask_ratio)]
    with torch.no_grad():
        posed = to_pixels(networks.generator(*inputs, to_network_input(jobs.landmarks)))
        forgotten = to_pixels(networks.generator(*inputs))
    assert np.abs(outcomes.images.astype(int) - posed).max() <= 1
    assert np.abs(outcomes.images.astype(int) - forgotten).mean() > 5
    others = Jobs(jobs.start, jobs.identity, jobs.noise, jobs.mask_ratio, jobs.targets, jobs.landmarks[::-1].copy())
    assert not np.array_equal(
        optimise(networks.generator, networks.identity, goals, others, **limits).images, outcomes.images
    )


def test_an_interrupted_dataset_continues_with_the_same_bytes(made, networks, tmp_path):
    (tmp_path / "parts").mkdir()
    for path in sorted((made[0] / "parts").iterdir()):
        if not path.name.startswith("images-000001"):
            (tmp_path / "parts" / path.name).write_bytes(path.read_bytes())
    generate_dataset(tmp_path, POSED, networks)
    for name in ("faces.lmdb", "faces.parquet", "grid.png"):
        assert (tmp_path / name).read_bytes() == (made[0] / name).read_bytes()


def test_poses_without_a_pose_model_are_refused(networks, tmp_path):
    plain = replace(networks, generator=networks.generator.main)
    with pytest.raises(InputError, match=r"pose.share=0.6 needs a pose model; give pose.weights"):
        generate_dataset(tmp_path, POSED, plain)


def test_shares_of_both_kinds_of_poses_add_up_to_one_at_most():
    with pytest.raises(ValidationError, match=r"pose.share=0.6 and attributes.pose_share=0.5 add up to more than 1"):
        settings(pose=POSE, attributes={"pose_share": 0.5})
    both = settings(pose=POSE, attributes={"pose_share": 0.4}, images_per_identity=10)
    assert replace(PLAN, settings=both).image_counts == [0, 6, 4]


def test_settings_name_the_weights_that_poses_need():
    names = settings(pose=POSE | {"landmarks": "mine.npy"}).weight_files
    assert {"pose_model.pth", "6DRepNet_300W_LP_AFLW2000.pth", "mine.npy"} <= set(names)
    assert "pose" not in settings().model_dump() and LandmarkPoses(share=0.5).model_dump().keys() == {
        "share",
        "weights",
        "yaw_degrees",
        "pitch_degrees",
    }
