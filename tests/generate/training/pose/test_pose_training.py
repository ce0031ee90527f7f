"""Training of a pose model: deterministic, resumed with the same bits, all of it synchronised, bad input named."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from face_files import make_faces
from generator_training import (
    FEATURE_DIM,
    checkpoint_state,
    die_at_the_fifth_step,
    make_posed_set,
    save_network,
    tiny_pose_recipe,
)
from paths import ROOT

from bench.errors import InputError
from bench.faces.face import encode_jpeg, encode_png
from bench.faces.lmdb_file import FaceWriter
from bench.files import read_json_lines
from bench.machine.resume import CHECKPOINT_NAME
from generate.networks.identity import load_identity_network
from generate.networks.plus.lora import LoraLinear
from generate.networks.weights import read_weights
from generate.training.data import Batch, open_training_set
from generate.training.loop import TrainOptions
from generate.training.pose import state as pose_state
from generate.training.pose.data import PoseBatch
from generate.training.pose.recipes import POSE_RECIPES_PATH, load_pose_recipe
from generate.training.pose.state import PoseState, pose_lr_at
from generate.training.pose.train import POSE_NAME, train_pose
from generate.training.train import FrozenNetworks
from generate.vec2face import load_generator

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder of a small training set with landmark pictures, and of the generator and its identity network."""
    return make_posed_set(tmp_path_factory.mktemp("set"))


def frozen(files):
    return FrozenNetworks(load_identity_network(files / "identity.safetensors"), weights=files)


def run(files, directory, *, seed=0, faces=None, generator="generator.safetensors", **changes):
    networks = changes.pop("networks", None) or frozen(files)
    faces = open_training_set(faces or files / "prepared" / "faces.lmdb")
    recipe, options = tiny_pose_recipe(**changes), TrainOptions(num_workers=0)
    return train_pose(faces, networks, files / generator, recipe, directory, seed=seed, options=options)


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished")
    return directory, run(files, directory)


def bits(state):
    """Every tensor of a checkpoint by its path, the others as text."""
    if isinstance(state, dict):
        return {f"{name}/{path}": value for name, part in state.items() for path, value in bits(part).items()}
    if isinstance(state, list | tuple):
        return bits(dict(enumerate(state)))
    return {"": state.numpy().tobytes() if isinstance(state, torch.Tensor) else repr(state)}


def test_the_summary_the_journal_the_grids_and_the_weights(files, finished):
    directory, summary = finished
    rows = read_json_lines(directory / "train.jsonl")
    assert [row["step"] for row in rows] == [3, 3, 6, 6]
    assert {"pixel", "perceptual", "ssim", "identity", "loss", "grad_norm", "lr"} < rows[0].keys()
    assert not {"token", "adversarial"} & rows[0].keys()
    weights = {"pixel": 1, "perceptual": 0.4, "ssim": 1, "identity": 1}
    assert rows[0]["loss"] == pytest.approx(sum(weight * rows[0][name] for name, weight in weights.items()), abs=1e-4)
    assert {"held_out/identity_cosine", "held_out/sampled_identity_cosine", "held_out/pixel"} < rows[1].keys()
    assert (summary.num_images_seen, summary.num_trained_identities) == (24, 4)
    assert len(list((directory / "grids").iterdir())) == 2
    posed = load_generator(files / "generator.safetensors", pose=directory / POSE_NAME)
    features, noise, pictures = torch.randn(5, FEATURE_DIM), torch.rand(5, 49), torch.rand(5, 3, 112, 112)
    with_pose = posed(features, noise, 0.85, pictures)  # five images, whatever the number of poses
    assert torch.equal(posed(features, noise, 0.3), posed.main(features, noise, 0.3))
    assert not torch.equal(with_pose, posed(features, noise, 0.85, -pictures))
    trained = sum(weight.numel() for name, weight in read_weights(directory / POSE_NAME)[0].items())
    assert trained == summary.num_parameters


def test_the_file_is_the_trained_network_and_the_generator_stays(files, finished, monkeypatch, tmp_path):
    states = []
    monkeypatch.setattr(pose_state.PoseState, "start", lambda self: states.append(self))
    run(files, tmp_path)
    (state,) = states
    posed = load_generator(files / "generator.safetensors", pose=tmp_path / POSE_NAME)
    features, noise, ratio = torch.randn(2, FEATURE_DIM), torch.rand(2, 49), torch.tensor([0.8, 0.9])
    pictures = torch.rand(2, 3, 112, 112)
    expected = state.posed(features, noise, ratio, pictures)  # LoRA unmerged
    torch.testing.assert_close(posed(features, noise, ratio, pictures), expected, rtol=1e-4, atol=1e-5)
    before = load_generator(files / "generator.safetensors").state_dict()
    layers = [layer for layer in state.posed.generator.modules() if isinstance(layer, LoraLinear)]
    assert len(layers) == 4 and all(layer.B.abs().sum() > 0 for layer in layers)
    assert torch.equal(state.posed.generator.blocks[0].attn.qkv.base.weight, before["blocks.0.attn.qkv.weight"])
    assert not state.posed.training and len(state.trained) == 2 * 4 + 10
    assert bits(checkpoint_state(finished[0])) == bits(checkpoint_state(tmp_path))  # the same call gives the same bits


def test_another_seed_gives_other_weights_and_global_randomness_is_left_alone(files, finished, tmp_path):
    networks = frozen(files)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    run(files, tmp_path, seed=1, epochs=1, networks=networks)
    assert torch.equal(before, torch.random.get_rng_state())
    first, second = (read_weights(folder / POSE_NAME)[0] for folder in (finished[0], tmp_path))
    assert not torch.equal(first["lora.blocks.0.attn.qkv.A"], second["lora.blocks.0.attn.qkv.A"])


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"exchange_pose": True, "judged_views": True, "judged_share": 0.5}])
def test_a_killed_run_ends_with_the_same_bits(files, finished, tmp_path, monkeypatch, changes):
    whole = finished[0]
    if changes:
        whole = tmp_path / "whole"
        run(files, whole, **changes)
    steps = die_at_the_fifth_step(monkeypatch, PoseState)
    with pytest.raises(KeyboardInterrupt):
        run(files, tmp_path / "killed", **changes)
    assert not (tmp_path / "killed" / POSE_NAME).exists()
    run(files, tmp_path / "killed", **changes)
    assert steps == [0, 1, 2, 3, 4, 3, 4, 5]
    assert bits(checkpoint_state(whole)) == bits(checkpoint_state(tmp_path / "killed"))
    assert (whole / POSE_NAME).read_bytes() == (tmp_path / "killed" / POSE_NAME).read_bytes()


def test_a_checkpoint_of_another_run_is_refused(files, finished, tmp_path):
    (tmp_path / CHECKPOINT_NAME).write_bytes((finished[0] / CHECKPOINT_NAME).read_bytes())
    for changes, message in (
        ({"rank": 4}, r"was trained with recipe\.rank=2, this run has 4; delete it to start anew"),
        ({"seed": 1}, r"was trained with seed=0, this run has 1"),
        ({"precision": "bf16"}, r"was trained with recipe\.precision=float32, this run has bf16"),
    ):
        with pytest.raises(InputError, match=message):
            run(files, tmp_path, **changes)
    (tmp_path / CHECKPOINT_NAME).write_bytes((finished[0] / CHECKPOINT_NAME).read_bytes()[:1000])
    with pytest.raises(InputError, match=r"checkpoint\.pt"):
        run(files, tmp_path)


def test_sets_without_landmark_pictures_or_with_wrong_ones_are_refused(files, tmp_path):
    whole = open_training_set(files / "prepared" / "faces.lmdb")

    def written(name, picture):
        with FaceWriter(tmp_path / name) as writer:
            for index in range(len(whole)):
                identity = int(whole.identity_ids[index])
                writer.write(whole.encoded(index), identity, whole.features(index), picture)
        return tmp_path / name

    picture = whole.landmark_picture(0)
    for name, changed, message in (
        (
            "none",
            None,
            r"holds no landmark pictures \(key 0 has 3 elements, not 4\); make a training set with .*--landm",
        ),
        ("bgr", encode_png(np.ascontiguousarray(picture[..., ::-1])), r"key 0 has its red discs below the blue ones"),
        ("small", encode_png(picture[:100, :100]), r"key 0 is 100 x 100 pixels; give pictures of 112 x 112"),
        ("face", encode_jpeg(np.full((112, 112, 3), 200, np.uint8)), r"key 0 has no .* disc|is bright in 100%"),
        ("broken", b"no picture", r"landmark picture of .*broken key 0"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            run(files, tmp_path / "out", faces=written(name, changed))
        assert "\n" not in str(caught.value)


def test_other_networks_are_refused(files, finished, tmp_path):
    with pytest.raises(InputError, match="give it as pose, and the main model"):
        run(files, tmp_path, generator=finished[0] / POSE_NAME)
    save_network(tmp_path / "identity.safetensors", feature_dim=8)
    (tmp_path / "generator.safetensors").write_bytes((files / "generator.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"the identity network gives 8 and the generator takes sizes\.feature_dim=16"):
        run(tmp_path, tmp_path / "out", faces=files / "prepared" / "faces.lmdb")
    with pytest.raises(InputError, match="batch_size=40 exceeds the 12 faces to train on"):
        run(files, tmp_path, batch_size=40)


def test_bf16_is_chosen_by_name(files, finished, tmp_path):
    run(files, tmp_path, precision="bf16", epochs=1)
    exact, rounded = (read_json_lines(folder / "train.jsonl")[0]["loss"] for folder in (finished[0], tmp_path))
    assert rounded == pytest.approx(exact, rel=0.05) and rounded != exact


def test_the_rate_is_that_of_torchs_schedulers():
    recipe = tiny_pose_recipe(epochs=4, warmup_epochs=1.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.optimizer.lr)
    linear = torch.optim.lr_scheduler.LinearLR(optimizer, 1e-3, total_iters=5)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 15, recipe.optimizer.final_lr)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [linear, cosine], [5])
    for step in range(20):
        assert pose_lr_at(step, steps_per_epoch=5, recipe=recipe) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_a_step_is_that_of_adamw_on_the_sum_of_the_terms(files):
    """A step beside the same written out: unmerged forward pass, losses by their formulas, torch's AdamW."""
    recipe = tiny_pose_recipe(losses={"pixel": 1.0, "perceptual": 0.0, "ssim": 0.0, "identity": 0.5})
    identity = load_identity_network(files / "identity.safetensors")

    def make_state():
        torch.manual_seed(0)
        terms = pose_state.LossTerms(identity, weights=files, device=torch.device("cpu"), with_ssim=False)
        generator = load_generator(files / "generator.safetensors")
        return PoseState(recipe, generator, terms, seed=0, device=torch.device("cpu"))

    faces = torch.randint(256, (3, 112, 112, 3), dtype=torch.uint8)
    features, noise, ratio = torch.randn(3, FEATURE_DIM), torch.rand(3, 49), torch.tensor([0.6, 0.7, 0.8]).double()
    pictures = torch.randint(256, (3, 112, 112, 3), dtype=torch.uint8)
    first, second = make_state(), make_state()
    values = first.update(PoseBatch(Batch(faces, features, noise, ratio), pictures, features), 0.01, first._weights)
    posed = second.posed
    fill = posed.network(pictures.permute(0, 3, 1, 2) / 127.5 - 1)
    images = posed.generator(features, noise, ratio, fill=fill, drop_ratio=0.6)
    pixel = (images - (faces.permute(0, 3, 1, 2) / 127.5 - 1)).square().mean()
    cosine = torch.cosine_similarity(identity(images), features).mean()
    (pixel + 0.5 * (1 - cosine)).backward()
    assert values["pixel"].item() == pytest.approx(pixel.item(), rel=1e-5)
    assert values["identity"].item() == pytest.approx(1 - cosine.item(), rel=1e-5)
    settings = recipe.optimizer
    adamw = torch.optim.AdamW(second.trained, lr=0.01, betas=settings.betas, weight_decay=settings.weight_decay)
    adamw.step()
    for ours, expected in zip(first.trained, second.trained, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=2e-4)


def test_the_published_recipe():
    recipe = load_pose_recipe("plus")
    assert (recipe.rank, recipe.alpha, recipe.channels) == (8, 32, (32, 64, 128, 256))
    assert recipe.losses.model_dump() == {"pixel": 1, "perceptual": 0.4, "ssim": 1, "identity": 1}
    assert recipe.masking.model_dump() == {"low": 0.6, "high": 0.8, "mean": 0.7, "std": 0.1}
    assert recipe.optimizer.model_dump() == {
        "lr": 1e-4, "final_lr": 1e-6, "betas": (0.9, 0.999), "weight_decay": 0.05, "grad_clip": None,
    }  # fmt: skip
    assert (recipe.batch_size, recipe.epochs, recipe.warmup_epochs, recipe.precision) == (256, 10, 1, "float32")
    assert all(load_pose_recipe(name).name == name for name in yaml.safe_load(POSE_RECIPES_PATH.read_text()))
    with pytest.raises(InputError, match=r"recipe plsu is not in .*pose_models\.yaml; "):
        load_pose_recipe("plsu")


PARALLEL = """
import sys
from pathlib import Path
import torch
from generate.networks.identity import load_identity_network
from generate.training.data import open_training_set
from generate.training.loop import TrainOptions
from generate.training.pose.state import PoseState
from generate.training.pose.train import train_pose
from generate.training.train import FrozenNetworks

sys.path.insert(0, str(Path("tests/helpers").resolve()))
from generator_training import tiny_pose_recipe

torch.set_num_threads(1)
folder, out = map(Path, sys.argv[1:])
kept = []
PoseState.start = lambda self: kept.append(self)
networks = FrozenNetworks(load_identity_network(folder / "identity.safetensors"), weights=folder)
faces = open_training_set(folder / "prepared" / "faces.lmdb")
recipe = tiny_pose_recipe(judged_share=1.0)
train_pose(faces, networks, folder / "generator.safetensors", recipe, out, seed=0, options=TrainOptions(num_workers=0))
import os
torch.save([weight.detach() for weight in kept[0].trained], out / f"rank{os.environ.get('RANK', 0)}.pt")
"""


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_and_equal_weights_in_both(files, tmp_path):
    """The published trainer averages the pose network alone, so that LoRA differs between the processes."""
    (tmp_path / "script.py").write_text(PARALLEL)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for name, prefix in (("one", []), ("two", launch)):
        command = [sys.executable, *prefix, str(tmp_path / "script.py"), str(files), str(tmp_path / name)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    single, parallel = (read_json_lines(tmp_path / name / "train.jsonl") for name in ("one", "two"))
    for first, second in zip(single, parallel, strict=True):
        for key in ("loss", "pixel", "identity", "held_out/identity_cosine"):
            assert first.get(key) == pytest.approx(second.get(key), abs=2e-4), key
    rank0, rank1 = (torch.load(tmp_path / "two" / f"rank{rank}.pt") for rank in (0, 1))
    assert len(rank0) == 18
    assert all(torch.equal(first, second) for first, second in zip(rank0, rank1, strict=True))


@pytest.mark.slow
def test_the_commands_from_rendered_heads_to_a_pose_model(tmp_path, monkeypatch):
    from bench.runs.cards import GeneratorCard, read_card
    from generate.__main__ import make_parser
    from generate.render.dataset import render_dataset

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def call(command, **options):
        flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        args = make_parser().parse_args([command, *flags, "--device", "cpu"])
        return args.run(args)

    render_dataset(tmp_path / "heads", num_identities=5, images_per_identity=3, seed=7)
    network = save_network(tmp_path / "identity.safetensors")
    folder = make_posed_set(tmp_path / "other")
    heads = tmp_path / "heads"
    line = call(
        "prepare", faces=heads / "faces.lmdb", identity_model=network, out=tmp_path / "set",
        landmarks=heads / "faces.parquet",
    )  # fmt: skip
    assert "15 faces of 5 identities" in line
    recipe = tiny_pose_recipe().model_dump(mode="json", exclude={"name"})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"tiny": recipe}))
    train = {"faces": tmp_path / "set" / "faces.lmdb", "identity_model": network, "recipe": "tiny"}
    train |= {
        "generator": folder / "generator.safetensors",
        "recipes": tmp_path / "mine.yaml",
        "runs": tmp_path / "runs",
    }
    path = Path(call("train-pose", **train).removeprefix("train-pose: "))
    card = read_card(path, GeneratorCard)
    assert set(card.networks) == {"identity", "generator"} and card.recipe == "tiny"
    assert load_generator(folder / "generator.safetensors", pose=path.parent / POSE_NAME).posed is not None
    assert "skip, unchanged" in call("train-pose", **train)
    with pytest.raises(InputError, match=r"generator network .*gone\.pth does not exist"):
        call("train-pose", **train | {"generator": tmp_path / "gone.pth"})


def test_faces_of_a_plain_dataset_are_refused(files, tmp_path):
    faces = make_faces(tmp_path, num_identities=3, images_per_identity=2)
    with pytest.raises(InputError, match="holds no features; add them with"):
        run(files, tmp_path / "out", faces=faces.path)
