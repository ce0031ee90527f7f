"""Images that are turned after they are drawn: which ones, how far, and that they are measured again afterwards."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from small_generation import Read, change, make, make_networks, settings

from bench.config.generator import TurnedViews, Vec2FaceGenerator
from bench.errors import InputError
from bench.faces.open import open_faces
from bench.faces.pixels import to_network_input
from generate.draw.attrop import Jobs, Outcomes
from generate.draw.dataset_run import Networks
from generate.draw.engine import generate_dataset
from generate.draw.perturbation import draw_views
from generate.draw.plan import Plan
from generate.draw.pose.views import turn_outcomes
from generate.render.turned import turn_face, view_yaw

pytestmark = pytest.mark.usefixtures("one_thread")
PLAN = Plan(
    settings(
        num_identities=4,
        max_cosine=0.99999,
        spare_share=0,
        attributes={"max_steps": 0, "pose_share": 0.2, "yaw_degrees": (1.0,)},
        turned={"share": 0.5, "degrees": (30.0, 60.0)},
        identities_per_shard=2,
        batch_size=3,
    ),
    seed=3,
)


def test_views_are_drawn_evenly_to_either_side_in_exact_number():
    yaw = np.stack([draw_views(0, identity, 20, 0.25, (20, 80)) for identity in range(500)])
    turned = np.isfinite(yaw)
    assert (turned.sum(axis=1) == 5).all() and turned.mean(axis=0).min() > 0.15
    assert np.mean(yaw[turned] > 0) == pytest.approx(0.5, abs=0.03)
    assert np.quantile(np.abs(yaw[turned]), [0, 0.5, 1]) == pytest.approx([20, 50, 80], abs=2)
    assert np.array_equal(yaw[7], draw_views(0, 7, 20, 0.25, (20, 80)), equal_nan=True)
    assert np.isnan(draw_views(0, 1, 4, 0.0, (20, 80))).all()


def test_faces_turn_to_the_side_that_is_seen():
    seen, drawn = np.array([-20.0, 20.0, 3.0, -3.0]), np.array([50.0, -50.0, -50.0, 50.0])
    assert view_yaw(seen, drawn).tolist() == [-50, 50, -50, 50]


def test_turned_images_are_judged_again_and_the_others_are_left_alone():
    rng = np.random.default_rng(0)
    num, dim = 7, 16
    images = rng.integers(0, 256, (num, 14, 14, 3)).repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
    zeros, seen = np.zeros(num, np.float32), rng.normal(0, 20, num).astype(np.float32)
    out = Outcomes(
        np.zeros((num, dim)), images.copy(), np.zeros((num, dim), np.float32), zeros.copy(),
        {"quality": zeros.copy(), "yaw": seen.copy()}, zeros, zeros > 0, num,
    )  # fmt: skip
    identity = rng.normal(size=(num, dim)).astype(np.float32)
    jobs = Jobs(identity, identity, zeros, zeros)
    degrees = np.array([50, np.nan, -40, 30, np.nan, 70, -60], np.float32)
    features, quality, yaw = Read(dim, 1), Read(1, 2), Read(1, 3)
    turn_outcomes(out, jobs, degrees, features, {"quality": quality, "yaw": yaw}, batch_size=2, device="cpu")
    for row in range(num):
        if np.isnan(degrees[row]):
            assert np.array_equal(out.images[row], images[row]) and not out.features[row].any()
            assert out.attributes["yaw"][row] == seen[row]
            continue
        expected = turn_face(images[row], float(seen[row]), float(view_yaw(seen[row], degrees[row])))
        assert np.array_equal(out.images[row], expected)
        pixels = to_network_input(expected[None])
        found = features(pixels)[0]
        np.testing.assert_allclose(out.features[row], found, rtol=1e-4, atol=1e-4)
        cosine = torch.nn.functional.cosine_similarity(found, torch.from_numpy(identity[row]), dim=0)
        assert out.identity_cosine[row] == pytest.approx(cosine.item(), abs=1e-4)
        assert out.attributes["quality"][row] == pytest.approx(quality(pixels).item(), rel=1e-3, abs=1e-3)
        assert out.attributes["yaw"][row] == pytest.approx(yaw(pixels).item(), rel=1e-3, abs=1e-3)


@pytest.mark.slow
def test_a_dataset_counts_them_and_is_the_same_every_time(tmp_path):
    drawn = make(tmp_path / "one", PLAN)
    assert drawn.statistics.turned_images == 4 * 2  # half of the four images without a target yaw
    records = pq.read_table(tmp_path / "one" / "faces.parquet").to_pandas()
    assert (np.isfinite(records["turned_yaw"]) & np.isfinite(records["target_yaw"])).sum() == 0
    assert records["turned_yaw"].abs().dropna().between(30, 60).all()
    make(tmp_path / "plain", change(PLAN, turned=None))
    made, plain = (open_faces(tmp_path / name / "faces.lmdb") for name in ("one", "plain"))
    same = [made.encoded(row) == plain.encoded(row) for row in range(len(made))]
    assert same == np.isnan(records["turned_yaw"]).tolist()
    make(tmp_path / "again", PLAN)
    assert (tmp_path / "again" / "faces.lmdb").read_bytes() == (tmp_path / "one" / "faces.lmdb").read_bytes()


def test_they_need_a_yaw_network(tmp_path):
    networks = make_networks()
    blind = Networks(networks.generator, networks.identity, networks.quality)
    plan = change(PLAN, attributes={"pose_share": 0})
    with pytest.raises(InputError, match=r"turned\.share=0\.5 needs a yaw estimator"):
        generate_dataset(tmp_path, plan, blind)


def test_settings_name_its_weights_and_refuse_what_is_no_range():
    plain = {"kind": "vec2face", "num_identities": 3, "attributes": {"pose_share": 0, "max_steps": 0}}
    assert "6DRepNet_300W_LP_AFLW2000.pth" not in Vec2FaceGenerator(**plain).weight_files
    assert "6DRepNet_300W_LP_AFLW2000.pth" in Vec2FaceGenerator(**plain, turned={"share": 0.5}).weight_files
    assert "turned" not in Vec2FaceGenerator(**plain).model_dump()  # fingerprints stay as they were
    with pytest.raises(ValidationError, match="give the smaller yaw first"):
        TurnedViews(share=0.5, degrees=(50, 20))
