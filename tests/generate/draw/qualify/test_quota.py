"""Quotas: exactly N images of each identity, reasons of the others, reserves; the same bytes after an interruption."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from small_generation import DIM, PLAN, Read, change, make, make_networks, make_posed_generator

from bench.errors import InputError
from bench.faces.open import open_faces
from generate.draw.engine import generate_dataset
from generate.draw.qualify.quota import apply_quota, judge_reasons, next_rows, next_tries

IDENTITIES = np.repeat(np.arange(5), 6)
GROUPS = 2 * IDENTITIES + np.tile([0, 0, 0, 0, 1, 1], 5)
WANTED = np.tile([2, 2, 2, 2, 1, 1], 5)


def one_by_one(reasons, scores):
    """The rule in plain words: per identity and kind of image, keep as many as wanted; or refuse the identity."""
    decided = list(reasons)
    for identity in range(5):
        short = False
        for kind, wanted in ((0, 2), (1, 1)):
            passing = [row for row in range(30) if GROUPS[row] == 2 * identity + kind and not reasons[row]]
            if scores is not None:
                passing.sort(key=lambda row: (-scores[row], row))
            short |= len(passing) < wanted
            for row in passing[wanted:]:
                decided[row] = "surplus"
        for row in range(30):
            if short and IDENTITIES[row] == identity and not decided[row]:
                decided[row] = "identity short"
    return decided


@pytest.mark.parametrize("seed", range(8))
def test_it_keeps_as_the_rule_says(seed):
    rng = np.random.default_rng(seed)
    reasons = np.where(rng.random(30) < 0.3, "quality", "").tolist()
    scores = rng.integers(0, 4, 30).astype(np.float32)
    for by in (None, scores):
        assert apply_quota(IDENTITIES, GROUPS, WANTED, reasons, by) == one_by_one(reasons, by)


def test_only_what_is_lacking_is_drawn():
    drawn = passes = np.zeros(30, bool)
    first = next_rows(GROUPS, WANTED, drawn, passes)
    assert first[:6].tolist() == [0, 1, 4, 6, 7, 10]
    drawn = np.isin(np.arange(30), first)
    passes = drawn & (np.arange(30) != 1) & (np.arange(30) != 10)
    assert next_rows(GROUPS, WANTED, drawn, passes).tolist() == [2, 11]
    passes[2] = True
    drawn[[2, 11]] = True
    assert not len(next_rows(GROUPS, WANTED, drawn, passes)), "a group that was drawn whole has no further rows"


def test_the_judge_refuses_images_far_from_the_mean_of_their_identity():
    features = np.tile(np.float32([[2, 0]]), (30, 1))
    features[4] = [0, 1]
    reasons = ["quality"] + [""] * 29
    expected = ["quality", "", "", "", "judge"] + [""] * 25
    assert judge_reasons(reasons, IDENTITIES, features, 0.5) == expected


def quota(**fields):
    return change(PLAN, images_per_identity=5, **fields)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    directory = tmp_path_factory.mktemp("filled") / "faces"
    plan = quota(num_identities=3, quota={"max_drawn": 8, "max_tried": 9}, filters={"min_identity_cosine": -0.3})
    return directory, plan, make(directory, plan)


def test_every_identity_has_its_images_and_every_refused_image_its_reason(filled):
    directory, _, drawn = filled
    faces, kept = open_faces(directory / "faces.lmdb"), pd.read_parquet(directory / "faces.parquet")
    refused = pd.read_parquet(directory / "refused.parquet")
    assert np.bincount(faces.identity_ids).tolist() == [5] * 3
    assert (kept.groupby("identity_id")["target_yaw"].count() == 2).all(), "the share of poses stays"
    assert (kept["identity_cosine"] >= -0.3).all()
    assert (refused[refused["reason"] == "identity"]["identity_cosine"] < -0.3).all()
    assert not refused.duplicated(["candidate", "image"]).any()
    assert not pd.merge(kept, refused, on=["candidate", "image"]).size
    counts = refused["reason"].value_counts().to_dict()
    assert {name: count for name, count in drawn.statistics.dropped.items() if count} == counts
    assert counts["identity"] > 0
    statistics = drawn.statistics
    assert statistics.identities_tried == len(set(kept["candidate"]) | set(refused["candidate"]))
    assert statistics.identities_tried - statistics.identities_short >= 3


@pytest.mark.slow
def test_interrupted_it_has_the_same_bytes(filled, tmp_path):
    directory, plan, _ = filled
    shards = sorted((directory / "parts").glob("images-*"))
    parts = tmp_path / "faces" / "parts"
    parts.mkdir(parents=True)
    for path in (directory / "parts").iterdir():
        if path.is_file() and path != shards[1] and not path.name.startswith("."):
            (parts / path.name).write_bytes(path.read_bytes())
    make(tmp_path / "faces", plan)
    for name in ("faces.lmdb", "faces.parquet", "refused.parquet"):
        assert (tmp_path / "faces" / name).read_bytes() == (directory / name).read_bytes()


def test_the_shares_of_all_kinds_of_poses_stay(tmp_path):
    pose = {"share": 0.4, "yaw_degrees": (40.0, -40.0)}
    attributes = {"pose_share": 0.2, "yaw_degrees": (1.0,), "max_steps": 1}
    asked = {"num_identities": 3, "quota": {"max_drawn": 10, "max_tried": 9}, "filters": {"min_identity_cosine": -0.3}}
    plan = quota(pose=pose, attributes=attributes, **asked)
    assert (plan.image_counts, plan.drawn_counts) == ([2, 2, 1], [4, 4, 2])
    generate_dataset(tmp_path, plan, replace(make_networks(), generator=make_posed_generator()))
    kept = pd.read_parquet(tmp_path / "faces.parquet")
    refused = pd.read_parquet(tmp_path / "refused.parquet")
    for _, images in kept.groupby("identity_id"):
        assert ((images["picture"] >= 0).sum(), images["target_yaw"].notna().sum(), len(images)) == (2, 1, 5)
    assert set(refused["reason"]) - {"exact duplicate"}
    assert [*kept.columns, "reason"] == list(refused.columns)


def test_no_pose_is_drawn_less_often_than_it_is_kept():
    """Of 11 images rounding gives the third kind one, of 10 two."""
    attributes = {"pose_share": 2 / 14, "yaw_degrees": (1.0,)}
    settings = {"pose": {"share": 6 / 14}, "attributes": attributes, "quota": {"max_drawn": 11}}
    plan = change(PLAN, images_per_identity=10, **settings)
    assert (plan.image_counts, plan.drawn_counts) == ([4, 4, 2], [5, 5, 2])


@pytest.mark.parametrize(("keep", "column"), [("identity", "identity_cosine"), ("quality", "quality")])
@pytest.mark.slow
def test_the_best_are_kept(tmp_path, keep, column):
    make(tmp_path, quota(num_identities=2, attributes={"pose_share": 0}, quota={"max_drawn": 8, "keep": keep}))
    kept = pd.read_parquet(tmp_path / "faces.parquet")
    refused = pd.read_parquet(tmp_path / "refused.parquet")
    assert set(refused["reason"]) <= {"surplus", "exact duplicate"}
    for candidate, images in kept.groupby("candidate"):
        others = refused[(refused["candidate"] == candidate) & (refused["reason"] == "surplus")]
        assert len(images) == 5
        assert images[column].min() >= others[column].max()


@pytest.mark.slow
def test_a_second_judge_refuses(tmp_path):
    networks = replace(make_networks(), judge=Read(DIM, 9))
    asked = {"max_drawn": 7, "judge_weights": "judge.onnx", "min_judge_cosine": 0.0, "max_tried": 20}
    plan = quota(num_identities=2, attributes={"pose_share": 0}, quota=asked)
    generate_dataset(tmp_path, plan, networks)
    assert np.bincount(open_faces(tmp_path / "faces.lmdb").identity_ids).tolist() == [5, 5]
    assert "judge.onnx" in plan.settings.weight_files


def test_a_quota_that_no_identity_can_fill_is_refused(tmp_path):
    plan = quota(num_identities=2, quota={"max_drawn": 6}, filters={"min_quality": 1e9})
    message = (
        r"quota: 0 of 2 identities have images_per_identity=5 images that pass, of max_drawn=6, .*; relax generator"
    )
    with pytest.raises(InputError, match=message):
        make(tmp_path, plan)
    assert list((tmp_path / "parts").glob("images-*"))


def test_used_up_reserves_say_how_many_could():
    plan = quota(num_identities=8, quota={"max_drawn": 6})
    with pytest.raises(InputError, match=r"quota: 7 of 10 .*num_identities=8; set num_identities=7 with max_tried=10"):
        next_tries(plan.settings, plan.settings.quota, num_tried=10, num_filled=7)
    assert next_tries(plan.settings, plan.settings.quota, num_tried=8, num_filled=7) == 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quota": {"max_drawn": 4}}, r"quota\.max_drawn=4 is below images_per_identity=5; raise it"),
        ({"quota": {"max_drawn": 9, "max_tried": 5}}, r"quota\.max_tried=5 is below num_identities=6; raise it"),
        ({"quota": {"max_drawn": 9, "judge_weights": "x"}}, "judge_weights and min_judge_cosine go together"),
    ],
)
def test_mistakes_in_the_settings_are_named(fields, message):
    with pytest.raises(ValidationError, match=message):
        quota(**fields)
