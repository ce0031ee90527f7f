"""Images drawn by whole rows of circumstances: correlations are kept, yaw is set, people are unchanged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from generator_training import save_network
from small_generation import SIZE, Read

from bench.config.generator import Perturbation, Vec2FaceGenerator
from bench.errors import InputError
from generate.draw.dataset import load_networks
from generate.draw.dataset_run import DatasetRun, Networks
from generate.draw.identities_round import make_identities
from generate.draw.plan import Plan, center_jobs, identity_rows
from generate.draw.pose.image_rows import vectors_with_circumstances, without_circumstances
from generate.networks.circumstances import (
    NAMES,
    NUM_CIRCUMSTANCES,
    PaddedFeatures,
    encode,
    neutral_circumstances,
    with_clear_view,
    yaw_of,
)
from generate.networks.estimators import identity_estimator
from generate.render.face import factor_table
from generate.vec2face import Architecture, Vec2Face, save_generator

IDENTITY = 16
DIM = IDENTITY + NUM_CIRCUMSTANCES
pytestmark = pytest.mark.usefixtures("one_thread")


def rows_of_the_renderer(num=400):
    table = factor_table(range(num), [0] * num)
    images = np.random.default_rng(0).integers(0, 256, (num, 1, 1, 3), dtype=np.uint8)
    images = np.broadcast_to(images, (num, 112, 112, 3))
    numbers = encode({name: table[name].to_numpy() for name in table}, np.zeros((num, 4)), images)
    deviations = np.random.default_rng(1).normal(0, 0.5, (num, IDENTITY)).astype(np.float32)
    deviations[:, 0] = numbers[:, 0]  # the first identity feature changes with the yaw
    return np.concatenate([deviations, with_clear_view(numbers)], axis=1)


ROWS = rows_of_the_renderer()
PERSON = np.concatenate([np.random.default_rng(2).normal(0, 1, IDENTITY), np.zeros(NUM_CIRCUMSTANCES)]).astype("f4")


def draw(num, yaw=np.nan, sigma=1.0, identity_id=0):
    yaws, sigmas = np.full(num, yaw), np.full(num, sigma, np.float32)
    return vectors_with_circumstances(PERSON, sigmas, yaws, ROWS, seed=0, identity_id=identity_id)


def test_every_image_has_a_whole_row():
    vectors = draw(50)
    for vector in vectors:
        matches = np.flatnonzero((ROWS[:, IDENTITY:] == vector[IDENTITY:]).all(axis=1))
        assert len(matches) == 1
        np.testing.assert_allclose(vector[:IDENTITY], PERSON[:IDENTITY] + ROWS[matches[0], :IDENTITY], atol=1e-6)


def test_correlations_are_those_of_the_renderer():
    vectors = draw(6000) - PERSON
    varied = np.flatnonzero(np.ptp(ROWS, axis=0) > 0)
    expected = np.corrcoef(ROWS[:, varied], rowvar=False)
    np.testing.assert_allclose(np.corrcoef(vectors[:, varied], rowvar=False), expected, atol=0.08)
    assert abs(np.corrcoef(vectors[:, 0], vectors[:, IDENTITY])[0, 1]) > 0.99  # yaw goes with its identity feature


def test_sigma_scales_the_identity_and_no_circumstance():
    whole, half = draw(20), draw(20, sigma=0.5)
    assert np.array_equal(whole[:, IDENTITY:], half[:, IDENTITY:])
    np.testing.assert_allclose(2 * (half - PERSON)[:, :IDENTITY], (whole - PERSON)[:, :IDENTITY], atol=1e-5)


@pytest.mark.parametrize("target", [-60.0, 0.0, 25.0, 85.0])
def test_a_target_yaw_is_set_in_a_row_of_about_that_yaw(target):
    vectors = draw(40, yaw=target)
    np.testing.assert_allclose(yaw_of(vectors[:, IDENTITY:]), target, atol=1e-4)
    others = [column for column, name in enumerate(NAMES) if not name.startswith("yaw")]
    yaws = yaw_of(ROWS[:, IDENTITY:])
    for vector in vectors:
        same = (ROWS[:, IDENTITY:][:, others] == vector[IDENTITY:][others]).all(axis=1)
        assert np.abs(yaws[same] - target).min() <= np.sort(np.abs(yaws - target))[31]
    assert len(np.unique(vectors[:, IDENTITY + NAMES.index("age_years")])) > 10  # many different rows


def test_circumstances_of_a_person_are_added_to_those_of_every_row():
    older = PERSON.copy()
    older[IDENTITY + NAMES.index("age_years")] = 2
    sigmas, yaws = np.ones(5, np.float32), np.array([np.nan, np.nan, 40, -40, np.nan])
    plain, changed = (
        vectors_with_circumstances(vector, sigmas, yaws, ROWS, seed=0, identity_id=3) for vector in (PERSON, older)
    )
    np.testing.assert_allclose(changed - plain, np.broadcast_to(older - PERSON, plain.shape), atol=1e-5)


def test_rows_depend_on_seed_person_and_image_alone():
    assert np.array_equal(draw(9)[:4], draw(4))
    assert not np.array_equal(draw(4), draw(4, identity_id=1))


def make_plan(tmp_path, **changes):
    np.save(tmp_path / "rows.npy", ROWS)
    fields = {
        "kind": "vec2face", "num_identities": 3, "images_per_identity": 5,
        "perturbation": {"sigmas": [1], "shares": [1], "differences": "rows.npy", "circumstances": True},
        "attributes": {"pose_share": 0.4, "yaw_degrees": [40, -40]},
    }  # fmt: skip
    return Plan(Vec2FaceGenerator(**fields | changes), seed=0, weights=tmp_path)


def test_a_plan_sets_the_yaw_of_posed_images_and_neutral_circumstances_of_centres(tmp_path):
    plan = make_plan(tmp_path)
    rows = identity_rows(plan, 0, 0, PERSON)
    yaws = yaw_of(rows["vector"][:, IDENTITY:])
    assert np.isnan(rows["target_yaw"]).tolist() == [True] * 3 + [False] * 2
    np.testing.assert_allclose(yaws[3:], rows["target_yaw"][3:], atol=1e-4)
    assert np.array_equal(rows["identity"][0], PERSON)
    jobs = center_jobs(plan, range(2), np.stack([PERSON, PERSON]))
    assert np.array_equal(jobs.start[0], np.concatenate([PERSON[:IDENTITY], neutral_circumstances()]))
    assert np.array_equal(without_circumstances(jobs.start), jobs.identity)


@pytest.mark.parametrize("is_given", [True, False])
def test_given_people_keep_their_own_circumstances_and_no_others_have_any(tmp_path, is_given):
    older = PERSON.copy()
    older[IDENTITY + NAMES.index("age_years")] = 2
    np.save(tmp_path / "people.npy", older[None])
    given = {"vectors": tmp_path / "people.npy"} if is_given else {}
    changes = {} if is_given else {"identities": "file", "centers": "people.npy"}
    plan = make_plan(tmp_path, num_identities=1, attributes={"pose_share": 0, "max_steps": 0}, **changes)
    size = replace(SIZE, feature_dim=DIM, style_width=8, circumstances=NUM_CIRCUMSTANCES)
    networks = Networks(Vec2Face(size).eval(), PaddedFeatures(Read(IDENTITY, 1), NUM_CIRCUMSTANCES), Read(1, 2))
    run = DatasetRun(replace(plan, center_steps=0, **given), networks, tmp_path / "parts", rank=0, world_size=1)
    make_identities(run, 1)
    (vector,) = np.load(tmp_path / "parts" / "vectors.npy")
    assert np.array_equal(vector, older if is_given else PERSON)


def test_the_identity_of_an_image_has_no_circumstances(tmp_path):
    older = PERSON.copy()
    older[IDENTITY:] = 1
    plan = make_plan(tmp_path)
    assert np.array_equal(identity_rows(plan, 0, 0, older)["identity"][0], PERSON)
    assert np.array_equal(center_jobs(plan, range(1), older[None]).identity[0], PERSON)


def test_circumstances_need_rows():
    with pytest.raises(ValueError, match="circumstances=true needs a file of rows that hold them; give differences"):
        Perturbation(circumstances=True)


def test_identity_features_are_padded_in_place_of_appearance(tmp_path):
    path = save_network(tmp_path / "identity.safetensors")
    padded, plain = identity_estimator(path, circumstances=7), identity_estimator(path)
    images = torch.rand(2, 3, 112, 112)
    assert torch.equal(padded(images), torch.nn.functional.pad(plain(images), (0, 7)))


def test_generator_and_settings_must_agree_on_circumstances(tmp_path):
    size = Architecture(DIM, 32, 1, 2, 1, 2, 4, (1, 1, 1, 1, 1), 8, style_width=8, circumstances=NUM_CIRCUMSTANCES)
    torch.manual_seed(0)
    save_generator(Vec2Face(size), tmp_path / "generator.safetensors")
    plan = make_plan(tmp_path, generator_weights="generator.safetensors", perturbation={})
    message = "takes 50 circumstances, but perturbation.circumstances gives 0; set it to true and give differences"
    with pytest.raises(InputError, match=message):
        load_networks(plan.settings, tmp_path)
