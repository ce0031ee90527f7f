"""Training: deterministic, resumable bit for bit, learns, and says what is wrong."""

import json

import numpy as np
import pytest
import torch
from bench_faces import make_faces

from bench.config import Recipe
from bench.errors import InputError
from bench.files import read_json_lines
from fr_train import train as trainer
from fr_train.checkpoint import load_backbone
from fr_train.data import FaceBatches
from fr_train.schedule import lr_at
from fr_train.train import train


def tiny_recipe(**changes):
    settings = {
        "backbone": {"depth": 18, "width": 4, "embedding_dim": 16, "dropout": 0.2},
        "margin": {"margin": 0.2, "scale": 16.0},
        "schedule": {"kind": "step", "epochs": 2, "drop_epochs": [2]},
        "batch_size": 8,
        "augmentation": {"crop": 0.3, "low_resolution": 0.3, "photometric": 0.3},
    }
    return Recipe.model_validate(settings | changes)


@pytest.fixture(autouse=True, scope="module")
def one_line_per_epoch():
    """On a slow machine the journal would have more lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "_LOG_SECONDS", float("inf"))
        yield


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), num_identities=4, images_per_identity=6)


def weights_of(directory):
    return {
        name: tensor.clone() for name, tensor in load_backbone(directory / "model.safetensors").state_dict().items()
    }


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture(scope="module")
def finished(faces, tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished")
    return directory, train(faces, tiny_recipe(), directory, seed=0, num_workers=0)


def test_the_summary_and_the_journal(finished):
    directory, summary = finished
    assert summary.num_images_seen == 2 * 24
    assert summary.num_parameters == sum(p.numel() for p in load_backbone(directory / "model.safetensors").parameters())
    rows = read_json_lines(directory / "train.jsonl")
    assert [row["step"] for row in rows] == [3, 6]
    assert rows[-1]["loss"] == pytest.approx(summary.final_loss, abs=1e-5)
    assert [row["lr"] for row in rows] == [0.1, 0.01]


def test_the_same_seed_gives_the_same_bits_whatever_the_workers(finished, faces, tmp_path):
    train(faces, tiny_recipe(), tmp_path, seed=0, num_workers=2)
    assert_same(weights_of(finished[0]), weights_of(tmp_path))


def test_another_seed_gives_other_weights(finished, faces, tmp_path):
    train(faces, tiny_recipe(), tmp_path, seed=1, num_workers=0)
    first, second = weights_of(finished[0]), weights_of(tmp_path)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_global_randomness_is_left_alone(faces, tmp_path):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    train(faces, tiny_recipe(), tmp_path, seed=0, num_workers=0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_interrupted_run_ends_with_the_same_bits(finished, faces, tmp_path, monkeypatch):
    real, steps = trainer._Run.update, []

    def dies_in_the_second_epoch(self, batch, lr):
        steps.append(self.step)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return real(self, batch, lr)

    monkeypatch.setattr(trainer._Run, "update", dies_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train(faces, tiny_recipe(), tmp_path, seed=0, num_workers=0)
    assert not (tmp_path / "model.safetensors").exists()
    train(faces, tiny_recipe(), tmp_path, seed=0, num_workers=0)
    assert steps == [0, 1, 2, 3, 4, 3, 4, 5]
    assert_same(weights_of(finished[0]), weights_of(tmp_path))
    assert [row["step"] for row in read_json_lines(tmp_path / "train.jsonl")] == [3, 6]


@pytest.mark.slow
def test_it_learns(tmp_path):
    faces = make_faces(tmp_path, num_identities=4, images_per_identity=16)
    recipe = tiny_recipe(
        schedule={"kind": "polynomial", "epochs": 8, "warmup_epochs": 1}, augmentation={"erasing": {"probability": 0}}
    )
    train(faces, recipe, tmp_path, seed=0, num_workers=0)
    rows = read_json_lines(tmp_path / "train.jsonl")
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"lr": 0.05}}, r"optimizer\.lr=0\.1, this run has 0\.05; delete it to start anew"),
        ({"backbone": {"depth": 34, "width": 4, "embedding_dim": 16}}, r"backbone\.depth=18, this run has 34"),
    ],
)
def test_a_checkpoint_of_another_recipe_is_refused(finished, faces, changes, message):
    with pytest.raises(InputError, match=message):
        train(faces, tiny_recipe(**changes), finished[0], seed=0, num_workers=0)


def test_a_checkpoint_of_another_dataset_is_refused(finished, tmp_path):
    other = make_faces(tmp_path, num_identities=5, images_per_identity=5)
    with pytest.raises(InputError, match=r"num_identities=4, this run has 5"):
        train(other, tiny_recipe(), finished[0], seed=0, num_workers=0)


def test_a_broken_checkpoint_is_named(finished, faces, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes((finished[0] / "checkpoint.pt").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"checkpoint\.pt is not a whole file of tensors"):
        train(faces, tiny_recipe(), tmp_path, seed=0, num_workers=0)


def test_a_loss_that_is_not_finite_stops_the_run(faces, tmp_path):
    recipe = tiny_recipe(optimizer={"lr": 1e30, "grad_clip": None})
    with pytest.raises(InputError, match=r"loss is (nan|inf) at step \d+.*lower recipe\.optimizer\.lr"):
        train(faces, recipe, tmp_path, seed=0, num_workers=0)
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("changes", [{"batch_size": 25}])
def test_a_batch_larger_than_the_dataset(faces, tmp_path, changes):
    with pytest.raises(InputError, match=r"batch_size=25 exceeds the dataset of 24 faces"):
        train(faces, tiny_recipe(**changes), tmp_path, seed=0, num_workers=0)


def test_batches_cover_every_epoch_once_and_ranks_share_them(faces):
    settings = {"batch_size": 8, "epochs": 2, "seed": 3}
    whole = FaceBatches(faces, tiny_recipe().augmentation, **settings)
    ranks = [FaceBatches(faces, tiny_recipe().augmentation, **settings, rank=r, world_size=2) for r in (0, 1)]
    for epoch in (0, 1):
        seen = np.concatenate([whole[step].indices for step in range(3 * epoch, 3 * epoch + 3)])
        assert sorted(seen) == list(range(24))
    for step in (0, 4):
        for rank, batches in enumerate(ranks):
            share = batches[step]
            assert share.indices.tolist() == whole[step].indices[rank::2].tolist()
            assert torch.equal(share.faces, whole[step].faces[rank::2])
    assert not np.array_equal(whole[0].indices, whole[3].indices)
    with pytest.raises(InputError, match=r"batch_size=8 is global and does not divide by 3 processes"):
        FaceBatches(faces, tiny_recipe().augmentation, **settings, world_size=3)


def test_the_published_schedule():
    schedule = tiny_recipe(schedule={"epochs": 26, "drop_epochs": [12, 20, 24]}).schedule
    rates = [lr_at(epoch * 10, steps_per_epoch=10, base_lr=0.1, schedule=schedule) for epoch in range(26)]
    counts = [sum(rate == pytest.approx(0.1 * 0.1**drops) for rate in rates) for drops in range(4)]
    assert counts == [11, 8, 4, 3]


def test_the_polynomial_schedule_rises_and_falls():
    schedule = tiny_recipe(schedule={"kind": "polynomial", "epochs": 4, "warmup_epochs": 1}).schedule
    rates = [lr_at(step, steps_per_epoch=10, base_lr=0.1, schedule=schedule) for step in range(40)]
    assert 0 < rates[0] < rates[9] <= rates[10] == 0.1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 1e-3


@pytest.mark.parametrize(
    "kind", ["cosface", "curricularface", "magface", "adaface", "uniface", "sphereface", "combined"]
)
def test_every_margin_takes_a_step(faces, tmp_path, kind):
    recipe = tiny_recipe(margin={"kind": kind, "margin": 0.2, "scale": 16.0}, schedule={"epochs": 1})
    assert np.isfinite(train(faces, recipe, tmp_path, seed=0, num_workers=0).final_loss)


@pytest.mark.parametrize(
    "changes", [{"precision": "bf16"}, {"ema_decay": 0.9}, {"optimizer": {"kind": "adamw", "lr": 0.001}}]
)
def test_options_take_a_step(faces, tmp_path, changes):
    train(faces, tiny_recipe(schedule={"epochs": 1}, **changes), tmp_path, seed=0, num_workers=0)
    assert json.loads((tmp_path / "train.jsonl").read_text())["step"] == 3
