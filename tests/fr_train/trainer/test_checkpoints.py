"""Resuming: the same bits after kill -9, other numbers of processes, and checkpoints of other runs are refused."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from face_files import make_faces
from paths import ROOT
from training import assert_same, freeze_batch_norm, run_processes, tiny_recipe, weights_of

from bench.errors import InputError
from bench.faces.open import open_faces
from bench.files import read_json_lines
from fr_train.trainer import checkpoints
from fr_train.trainer.data import FaceBatches
from fr_train.trainer.engine import Engine
from fr_train.trainer.options import RunOptions
from fr_train.trainer.train import train

OPTIONS = RunOptions(num_workers=0)


pytestmark = pytest.mark.usefixtures("one_line_per_epoch")


class StopError(Exception):
    """An error that ends a run."""


def end_run_at(step, patch, end):
    """Patch ``Engine.update`` so that ``end`` is called at a step; returns the list of steps, which grows."""
    real, steps = Engine.update, []

    def update(self, batch, lr):
        steps.append(self.step)
        if self.step == step:
            end()
        return real(self, batch, lr)

    patch.setattr(Engine, "update", update)
    return steps


def stop():
    raise StopError


@pytest.mark.parametrize(("minutes", "resumes_at"), [(10, 3), (0, 4)])
def test_an_interrupted_run_ends_with_the_same_bits(
    trained, training_faces, tmp_path, monkeypatch, minutes, resumes_at
):
    monkeypatch.setattr(checkpoints, "_STEPS_BETWEEN_CLOCK_CHECKS", 2)
    options = RunOptions(num_workers=0, checkpoint_minutes=minutes)
    with monkeypatch.context() as patch, pytest.raises(StopError):
        end_run_at(5, patch, stop)
        train(training_faces, tiny_recipe(), tmp_path, seed=0, options=options)
    assert not (tmp_path / "model.safetensors").exists()
    steps = end_run_at(None, monkeypatch, stop)
    summary = train(training_faces, tiny_recipe(), tmp_path, seed=0, options=options)
    assert steps == list(range(resumes_at, 6))
    assert_same(weights_of(trained[0]), weights_of(tmp_path))
    assert summary.earlier_seconds > 0
    rows = read_json_lines(tmp_path / "train.jsonl")
    whole = {row["step"]: row["loss"] for row in read_json_lines(trained[0] / "train.jsonl")}
    assert {row["step"]: row["loss"] for row in rows if row["step"] in whole} == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"ema_decay": 0.9, "optimizer": {"kind": "adamw", "lr": 0.001}, "precision": "bf16"},
        {"margin": {"kind": "adaface", "sample_rate": 0.5, "parameters": {"t_alpha": 0.5}}, "precision": "fp16"},
        {"backbone": {"kind": "timm", "name": "vit_tiny_patch16_224", "embedding_dim": 16}, "batch_size": 4},
    ],
    ids=["average", "sampled", "transformer"],
)
def test_whatever_the_recipe_has_resumes_to_the_same_bits(training_faces, tmp_path, monkeypatch, changes):
    recipe = tiny_recipe(**changes)
    train(training_faces, recipe, tmp_path / "whole", seed=0, options=OPTIONS)
    with monkeypatch.context() as patch, pytest.raises(StopError):
        end_run_at(len(FaceBatches(training_faces, recipe, seed=0)) - 1, patch, stop)
        train(training_faces, recipe, tmp_path / "cut", seed=0, options=OPTIONS)
    train(training_faces, recipe, tmp_path / "cut", seed=0, options=OPTIONS)
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))


def kill_in_the_second_epoch(faces_path, directory, num_threads):
    torch.set_num_threads(num_threads)  # sums in another order are other bits
    checkpoints._STEPS_BETWEEN_CLOCK_CHECKS = 1
    with pytest.MonkeyPatch.context() as patch:
        end_run_at(5, patch, lambda: os.kill(os.getpid(), signal.SIGKILL))
        options = RunOptions(num_workers=1, checkpoint_minutes=0)
        train(open_faces(faces_path), tiny_recipe(), directory, seed=0, options=options)


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch(trained, training_faces, tmp_path, monkeypatch):
    arguments = f"{str(training_faces.path)!r}, {str(tmp_path)!r}, {torch.get_num_threads()}"
    folders = f"{ROOT}:{ROOT}/tests/helpers:{ROOT}/tests/fr_train/trainer"
    call = f"from test_checkpoints import *; kill_in_the_second_epoch({arguments})"
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=ROOT, env=os.environ | {"PYTHONPATH": folders}, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    steps = end_run_at(None, monkeypatch, stop)
    train(training_faces, tiny_recipe(), tmp_path, seed=0, options=OPTIONS)
    assert steps == [5]
    assert_same(weights_of(trained[0]), weights_of(tmp_path))


def part_of_a_run(faces_path, directory, last_step):
    """Train without batch norm statistics and dropout, which depend on how a batch is split over processes."""
    recipe = tiny_recipe(
        backbone={"depth": 18, "width": 4, "embedding_dim": 16}, optimizer={"lr": 0.02}, margin={"sample_rate": 0.5}
    )
    with pytest.MonkeyPatch.context() as patch:
        freeze_batch_norm(patch)
        end_run_at(last_step, patch, stop)
        with suppress(StopError):
            train(open_faces(faces_path), recipe, directory, seed=0, options=OPTIONS)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")  # as in run_processes: sums in another order can carry a PReLU over its kink
@pytest.mark.parametrize("world_sizes", [(2, 1), (1, 2), (2, 2), (4, 2)])
def test_a_run_goes_on_with_another_number_of_processes(training_faces, tmp_path, world_sizes):
    part_of_a_run(training_faces.path, tmp_path / "whole", None)
    for world_size, last_step in zip(world_sizes, (4, None), strict=True):
        arguments = (training_faces.path, tmp_path / "split", last_step)
        if world_size == 1:
            part_of_a_run(*arguments)
        else:
            run_processes(part_of_a_run, world_size, *arguments)
    whole, split = weights_of(tmp_path / "whole"), weights_of(tmp_path / "split")
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    losses = [
        {row["step"]: row["loss"] for row in read_json_lines(tmp_path / run / "train.jsonl") if row["step"] in (3, 6)}
        for run in ("whole", "split")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"lr": 0.05}}, r"optimizer\.lr=0\.1, this run has 0\.05; delete it to start anew"),
        ({"backbone": {"depth": 34, "width": 4, "embedding_dim": 16}}, r"backbone\.depth=18, this run has 34"),
    ],
)
def test_a_checkpoint_of_another_recipe_is_refused(trained, training_faces, changes, message):
    with pytest.raises(InputError, match=message):
        train(training_faces, tiny_recipe(**changes), trained[0], seed=0, options=RunOptions(num_workers=0))


class OtherImages:
    """The same faces with other image files."""

    def __init__(self, faces):
        self._faces = faces

    def __getattr__(self, name):
        return getattr(self._faces, name)

    def __len__(self):
        return len(self._faces)

    def encoded(self, index):
        return self._faces.encoded(len(self) - 1 - index)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_identities": 5, "images_per_identity": 5}, r"num_identities=4, this run has 5"),
        ({"num_identities": 4, "images_per_identity": 7}, r"num_images=24, this run has 28"),
        (None, r"sample_sha256=\w+, this run has \w+; delete it to start anew"),
    ],
)
def test_a_checkpoint_of_another_dataset_is_refused(trained, training_faces, tmp_path, sizes, message):
    other = OtherImages(training_faces) if sizes is None else make_faces(tmp_path, **sizes)
    with pytest.raises(InputError, match=message):
        train(other, tiny_recipe(), trained[0], seed=0, options=RunOptions(num_workers=0))


def test_a_checkpoint_of_an_older_version_does_not_name_its_dataset(trained, training_faces, tmp_path):
    state = torch.load(trained[0] / "checkpoint.pt", weights_only=True)
    del state["dataset"]
    torch.save(state, tmp_path / "checkpoint.pt")
    train(training_faces, tiny_recipe(), tmp_path, seed=0, options=OPTIONS)
    assert_same(weights_of(trained[0]), weights_of(tmp_path))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def hold_other_objects(path):
    torch.save([torch.zeros(1)], path)


def lack_an_entry(path):
    state = torch.load(path, weights_only=True)
    del state["optimizer"]
    torch.save(state, path)


@pytest.mark.parametrize("damage", [cut_short, hold_other_objects, lack_an_entry])
def test_a_damaged_checkpoint_is_to_be_deleted(trained, training_faces, tmp_path, damage):
    directory, _ = trained
    shutil.copy(directory / "checkpoint.pt", tmp_path / "checkpoint.pt")
    damage(tmp_path / "checkpoint.pt")
    message = r"checkpoint\.pt is damaged \(.*\); delete checkpoint\.pt, and the training starts anew$"
    with pytest.raises(InputError, match=message):
        train(training_faces, tiny_recipe(), tmp_path, seed=0, options=OPTIONS)
