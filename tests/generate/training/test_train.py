"""Training of the generator: deterministic, resumed with the same bits, and bad input is named."""

import json
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from face_files import make_faces
from generator_training import (
    FEATURE_DIM,
    checkpoint_state,
    die_at_the_fifth_step,
    make_prepared,
    save_network,
    tiny_recipe,
)
from memory_blocks import note_blocks
from paths import ROOT

from bench.errors import InputError, Preempted
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.files import read_json_lines
from bench.machine.resume import CHECKPOINT_NAME
from generate.networks.identity import load_identity_network
from generate.training import journal as train_journal
from generate.training import loop
from generate.training import state as train_state
from generate.training import train as trainer
from generate.training.data import FeatureBatches, open_training_set, split_held_out
from generate.training.loop import TrainingLoop, TrainOptions
from generate.training.recipes import load_recipe
from generate.training.state import build_generator, lr_at
from generate.training.train import GENERATOR_NAME, FrozenNetworks, train_generator
from generate.vec2face import load_generator


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("set")
    folder, weights = make_prepared(directory, make_faces(directory, num_identities=6, images_per_identity=3))
    return open_training_set(folder / "faces.lmdb"), weights


@pytest.fixture(scope="module")
def networks(prepared, tmp_path_factory):
    directory = tmp_path_factory.mktemp("judges")
    judge = save_network(directory / "judge.safetensors", feature_dim=8, seed=1)
    return FrozenNetworks(load_identity_network(prepared[1]), load_identity_network(judge), weights=directory)


def run(prepared, networks, directory, seed=0, must_match=None, **changes):
    options = TrainOptions(num_workers=0, must_match=must_match or {})
    return train_generator(prepared[0], networks, tiny_recipe(**changes), directory, seed=seed, options=options)


@pytest.fixture(scope="module")
def finished(prepared, networks, tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished")
    return directory, run(prepared, networks, directory, must_match={"dataset": {"sha256": "a"}})


def assert_same(first, second):
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            assert_same(first[name], second[name])
    elif isinstance(first, list | tuple):
        for first_part, second_part in zip(first, second, strict=True):
            assert_same(first_part, second_part)
    else:
        assert first == second


def test_the_summary_the_journal_and_the_grids(finished):
    directory, summary = finished
    assert summary.num_images_seen == 2 * 12  # 12 faces are trained on, the 6 of two identities are held out
    assert summary.num_trained_identities == 4
    assert summary.perceptual_network == "identity network"
    rows = read_json_lines(directory / "train.jsonl")
    assert [row["step"] for row in rows] == [3, 3, 6, 6]
    first, second = rows[0], rows[2]
    assert {"pixel", "perceptual", "ssim", "token", "loss", "grad_norm"} < first.keys()
    assert not {"identity", "adversarial", "discriminator"} & first.keys()  # from epoch 1 on
    assert {"identity", "adversarial", "discriminator", "discriminator_grad_norm"} < second.keys()
    for row in (rows[1], rows[3]):
        names = ("identity_cosine", "sampled_identity_cosine", "judge_cosine", "pixel")
        assert {f"held_out/{name}" for name in names} < row.keys()
    assert sorted(path.name for path in (directory / "grids").iterdir()) == ["epoch_0001.png", "epoch_0002.png"]
    generator = load_generator(directory / GENERATOR_NAME)
    ours = checkpoint_state(directory)["ema"]
    assert torch.equal(generator.norm.weight, ours["module.norm.weight"])  # the moving average is saved


def test_the_loss_is_the_weighted_sum_of_its_terms(finished):
    first, _, second, _ = read_json_lines(finished[0] / "train.jsonl")
    plain = {"pixel": 1.0, "perceptual": 0.2, "ssim": 0.1, "token": 1.0}
    assert first["loss"] == pytest.approx(sum(weight * first[name] for name, weight in plain.items()), abs=1e-4)
    assert np.isfinite(second["loss"])


def test_the_recipe_of_vec2face_plus_and_training_without_a_discriminator(prepared, networks, tmp_path):
    plus, present = load_recipe("plus"), load_recipe("present")
    weights = {"pixel": 1.0, "perceptual": 0.4, "ssim": 1.0, "token": 1.0, "identity": 1.0, "adversarial": 0.0}
    weights |= {"absolute": 0.0}
    assert plus.losses.weights_at(0) == plus.losses.weights_at(99.5) == weights
    assert plus.optimizer.grad_clip == 1.0
    changed = {"name", "about", "losses", "optimizer"}
    assert plus.model_dump(exclude=changed) == present.model_dump(exclude=changed)
    run(prepared, networks, tmp_path, losses=plus.losses.model_dump())
    assert not {"discriminator", "discriminator_optimizer"} & checkpoint_state(tmp_path).keys()
    rows = read_json_lines(tmp_path / "train.jsonl")
    assert rows[0]["loss"] == pytest.approx(sum(weights[name] * rows[0].get(name, 0) for name in weights), abs=1e-4)
    assert "identity" in rows[0] and "adversarial" not in rows[2]


def test_another_seed_gives_other_weights_and_global_randomness_is_left_alone(finished, prepared, networks, tmp_path):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    run(prepared, networks, tmp_path, seed=1, epochs=1)
    assert torch.equal(before, torch.random.get_rng_state())
    first, second = (load_generator(folder / GENERATOR_NAME).state_dict() for folder in (finished[0], tmp_path))
    assert not torch.equal(first["decoder_embed.weight"], second["decoder_embed.weight"])


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(finished, prepared, networks, tmp_path, monkeypatch):
    steps = die_at_the_fifth_step(monkeypatch, train_state.TrainState)
    must_match = {"dataset": {"sha256": "a"}}
    with pytest.raises(KeyboardInterrupt):
        run(prepared, networks, tmp_path, must_match=must_match)
    assert not (tmp_path / GENERATOR_NAME).exists()
    run(prepared, networks, tmp_path, must_match=must_match)
    assert steps == [0, 1, 2, 3, 4, 3, 4, 5]
    assert_same(checkpoint_state(finished[0]), checkpoint_state(tmp_path))
    columns = ("step", "loss", "held_out/identity_cosine")
    first, second = (
        [[row.get(name) for name in columns] for row in read_json_lines(folder / "train.jsonl")]
        for folder in (finished[0], tmp_path)
    )
    assert first == second


@pytest.mark.slow
def test_a_run_that_a_scheduler_ends_goes_on_with_the_same_bits(finished, prepared, networks, tmp_path, monkeypatch):
    update, steps, must_match = train_state.TrainState.update, [], {"dataset": {"sha256": "a"}}

    def signal_in_the_fifth_step(self, batch, lr, weights):
        steps.append(self.step)
        if len(steps) == 5:
            os.kill(os.getpid(), signal.SIGUSR1)
        return update(self, batch, lr, weights)

    monkeypatch.setattr(train_state.TrainState, "update", signal_in_the_fifth_step)
    with pytest.raises(Preempted, match="ended by SIGUSR1; the checkpoint is written"):
        run(prepared, networks, tmp_path, must_match=must_match)
    run(prepared, networks, tmp_path, must_match=must_match)
    assert steps == [0, 1, 2, 3, 4, 5]  # no step is lost
    assert_same(checkpoint_state(finished[0]), checkpoint_state(tmp_path))
    assert [row["step"] for row in read_json_lines(tmp_path / "train.jsonl")] == [3, 3, 5, 6, 6]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests/helpers")
import torch
from generator_training import tiny_recipe
from generate.training import state as train_state
from generate.networks.identity import load_identity_network
from generate.training.train import FrozenNetworks, train_generator
from generate.training.data import open_training_set
from generate.training.loop import TrainOptions
torch.set_num_threads(int(sys.argv[4]))
real = train_state.TrainState.update

def dies_in_the_second_epoch(self, batch, lr, weights):
    if self.step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch, lr, weights)

train_state.TrainState.update = dies_in_the_second_epoch
set_folder, judge_folder, out = map(Path, sys.argv[1:4])
networks = [load_identity_network(p) for p in (set_folder / "identity.safetensors", judge_folder / "judge.safetensors")]
options = TrainOptions(num_workers=0, must_match={"dataset": {"sha256": "a"}})
faces = open_training_set(set_folder / "prepared" / "faces.lmdb")
train_generator(faces, FrozenNetworks(*networks, weights=judge_folder), tiny_recipe(), out, seed=0, options=options)
"""


@pytest.mark.slow
def test_after_kill_9_the_same_bits(finished, prepared, networks, tmp_path):
    root = ROOT
    (tmp_path / "script.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "script.py"), str(prepared[1].parent), str(networks.weights)]
    command += [str(tmp_path / "run"), str(torch.get_num_threads())]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoint_state(tmp_path / "run")["step"] == 3
    assert not (tmp_path / "run" / GENERATOR_NAME).exists()
    run(prepared, networks, tmp_path / "run", must_match={"dataset": {"sha256": "a"}})
    assert_same(checkpoint_state(finished[0]), checkpoint_state(tmp_path / "run"))
    names = [path.name for path in (tmp_path / "run").iterdir()]
    assert not [name for name in names if name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 2}, r"trained with recipe\.batch_size=4, this run has 2; delete it to start anew"),
        ({"losses": {"ssim": {"weight": 0.5}}}, r"recipe\.losses\.adversarial\.start_epoch=1, this run has 80"),
        ({"seed": 3}, r"trained with seed=0, this run has 3"),
        ({"must_match": {"dataset": {"sha256": "b"}}}, r"trained with dataset\.sha256=a, this run has b"),
    ],
)
def test_resume_with_other_settings_is_refused(finished, prepared, networks, changes, message):
    with pytest.raises(InputError, match=message):
        run(prepared, networks, finished[0], **{"must_match": {"dataset": {"sha256": "a"}}} | changes)


def test_a_checkpoint_of_another_dataset_is_refused_unless_it_is_too_old_to_say(
    finished, prepared, networks, tmp_path, monkeypatch
):
    monkeypatch.setattr("generate.training.train.sample_sha256", lambda faces: "another")
    must_match = {"dataset": {"sha256": "a"}}
    with pytest.raises(InputError, match=r"trained with sample_sha256=\w+, this run has another; delete it"):
        run(prepared, networks, finished[0], must_match=must_match)
    state = torch.load(finished[0] / CHECKPOINT_NAME, weights_only=True)
    settings = json.loads(state["settings"])
    del settings["sample_sha256"]
    torch.save(state | {"settings": json.dumps(settings)}, tmp_path / CHECKPOINT_NAME)
    assert run(prepared, networks, tmp_path, must_match=must_match).num_images_seen > 0


def test_a_broken_checkpoint_is_named(finished, prepared, networks, tmp_path):
    (tmp_path / CHECKPOINT_NAME).write_bytes((finished[0] / CHECKPOINT_NAME).read_bytes()[:1000])
    with pytest.raises(InputError, match=r"checkpoint\.pt cannot be read"):
        run(prepared, networks, tmp_path)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_step_and_term_and_keeps_the_checkpoint(
    prepared, networks, tmp_path, monkeypatch
):
    real = train_state.discriminator_loss
    monkeypatch.setattr(train_state, "discriminator_loss", lambda *logits: real(*logits) * float("nan"))
    with pytest.raises(InputError, match=r"discriminator is nan at step 4; the last checkpoint is kept"):
        run(prepared, networks, tmp_path)
    assert checkpoint_state(tmp_path)["step"] == 3
    assert all(torch.isfinite(value).all() for value in checkpoint_state(tmp_path)["generator"].values())
    assert not (tmp_path / GENERATOR_NAME).exists()
    assert [row["step"] for row in read_json_lines(tmp_path / "train.jsonl")] == [3, 3]


def test_a_value_that_is_not_finite_is_not_saved_by_a_signal_either(prepared, networks, tmp_path, monkeypatch):
    update = train_state.TrainState.update

    def spoil_and_signal(self, batch, lr, weights):
        values = update(self, batch, lr, weights)
        os.kill(os.getpid(), signal.SIGUSR1)
        return values | {"loss": values["loss"] * float("nan")}

    monkeypatch.setattr(train_state.TrainState, "update", spoil_and_signal)
    with pytest.raises(InputError, match="loss is nan at step 1; the last checkpoint is kept"):
        run(prepared, networks, tmp_path)
    assert not (tmp_path / CHECKPOINT_NAME).exists()


def test_a_network_of_another_width_is_refused(prepared, networks, tmp_path):
    with pytest.raises(InputError, match=r"width 16, the identity network gives 8 and the generator takes .*=16"):
        run(prepared, FrozenNetworks(networks.judge), tmp_path)
    sizes = tiny_recipe().sizes.model_dump() | {"feature_dim": 512}
    with pytest.raises(InputError, match=r"sizes\.feature_dim=512; all three must be equal"):
        run(prepared, networks, tmp_path, sizes=sizes)


def test_features_of_another_network_are_refused(prepared, tmp_path):
    other = load_identity_network(save_network(tmp_path / "other.safetensors", seed=7))
    with pytest.raises(InputError, match=r"features of another identity network: mean cosine"):
        run(prepared, FrozenNetworks(other), tmp_path)


def test_too_few_identities_and_too_large_a_batch(prepared, networks, tmp_path):
    with pytest.raises(InputError, match=r"held_out_identities=5 leaves 1 of 6 identities"):
        run(prepared, networks, tmp_path, held_out_identities=5)
    with pytest.raises(InputError, match=r"batch_size=13 exceeds the 12 faces to train on"):
        run(prepared, networks, tmp_path, batch_size=13)


def test_batches_cover_every_epoch_once_and_ranks_share_them(prepared):
    faces, masks = prepared[0], training_masks()
    trained, held_out = split_held_out(faces, 2, seed=0)
    assert len(trained) + len(held_out) == len(faces)
    assert not set(faces.identity_ids[trained]) & set(faces.identity_ids[held_out])
    whole = FeatureBatches(faces, trained, masks, batch_size=4, seed=3)
    ranks = [FeatureBatches(faces, trained, masks, batch_size=4, seed=3) for _ in range(2)]
    for rank, batches in enumerate(ranks):
        batches.share(rank, 2)
    for epoch in (0, 1):
        features = torch.cat([whole[step].features for step in range(3 * epoch, 3 * epoch + 3)])
        expected = np.stack([faces.features(int(position)) for position in trained])
        assert np.allclose(np.sort(features.numpy(), axis=0), np.sort(expected, axis=0))
    for rank, batches in enumerate(ranks):
        for name in ("faces", "features", "noise", "mask_ratio"):
            assert torch.equal(getattr(batches[4], name), getattr(whole[4], name)[rank::2])
    assert (whole[0].mask_ratio >= 0.5).all()
    assert not torch.equal(whole[0].features, whole[3].features)
    with pytest.raises(InputError, match="cannot be divided by 3 processes"):
        whole.share(0, 3)


def training_masks():
    from generate.networks.masks import MaskRatio

    return MaskRatio(0.5, 1.0, 0.75, 0.25)


def test_the_rate_rises_linearly_and_falls_as_half_a_cosine():
    recipe = tiny_recipe(epochs=10, warmup_epochs=2)
    rates = [lr_at(step, steps_per_epoch=10, recipe=recipe) for step in range(101)]
    assert rates[0] == 0 and rates[10] == pytest.approx(0.001) and rates[20] == max(rates) == 0.002
    assert rates[60] == pytest.approx(0.001) and rates[100] == pytest.approx(0)


def test_initial_weights_are_the_references():
    torch.manual_seed(0)
    generator = build_generator(tiny_recipe())
    limit = (6 / (16 + 16)) ** 0.5
    assert generator.decoder_embed.weight.abs().max() <= limit
    assert generator.decoder_embed.bias.abs().max() == 0
    assert 0.01 < generator.decoder_pos_embed_learned.std() < 0.03


@pytest.mark.slow
def test_the_discriminator_learns_from_its_own_loss_alone(prepared, networks, tmp_path, monkeypatch):
    """With its loss switched to zero, nothing moves its weights but their decay."""
    monkeypatch.setattr(train_state, "discriminator_loss", lambda real, generated: 0 * (real.sum() + generated.sum()))
    optimizer = {"lr": 0.002, "weight_decay": 0.0}
    run(prepared, networks, tmp_path, optimizer=optimizer)
    after = checkpoint_state(tmp_path)["discriminator"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = train_state.TrainState(
            tiny_recipe(optimizer=optimizer), None, seed=0, device=torch.device("cpu")
        ).discriminator.state_dict()
    assert_same(dict(before), dict(after))


@pytest.mark.parametrize("precision", ["bf16", pytest.param("fp16", marks=pytest.mark.slow)])
def test_low_precision_takes_a_step(prepared, networks, tmp_path, precision):
    summary = run(prepared, networks, tmp_path, precision=precision, epochs=1, ema_decay=None)
    assert np.isfinite(summary.figures["loss"])


def test_steps_run_inside_freed_memory_kept(prepared, networks, tmp_path, monkeypatch):
    blocks = []
    update = train_state.TrainState.update
    monkeypatch.setattr(loop, "freed_memory_kept", note_blocks(blocks))
    monkeypatch.setattr(
        train_state.TrainState, "update", lambda *arguments: blocks.append("step") or update(*arguments)
    )
    run(prepared, networks, tmp_path, epochs=1)
    assert blocks[0] == "begin cpu" and blocks[-1] == "end" and set(blocks[1:-1]) == {"step"}


def test_lines_are_means_over_their_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(train_journal, "LOG_STEPS", 2)
    journal = train_journal.Journal(tmp_path / "train.jsonl", 0, is_writing=True)
    for value in (1.0, 3.0):
        journal.add({"loss": torch.tensor(value)}, 0.0)
    assert journal.is_due
    assert journal.flush(2, 8)["loss"] == 2.0


PARALLEL = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/helpers")
from generator_training import tiny_recipe
from generate.networks.identity import load_identity_network
from generate.training.train import FrozenNetworks, train_generator
from generate.training.data import open_training_set
from generate.training.loop import TrainOptions
folder, out = map(Path, sys.argv[1:])
networks = FrozenNetworks(load_identity_network(folder / "identity.safetensors"))
recipe = tiny_recipe(sizes=tiny_recipe().sizes.model_dump() | {"dropout": 0})
options = TrainOptions(num_workers=0)
train_generator(open_training_set(folder / "prepared" / "faces.lmdb"), networks, recipe, out, seed=0, options=options)
"""


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(prepared, tmp_path):
    root, folder = ROOT, prepared[1].parent
    (tmp_path / "script.py").write_text(PARALLEL)
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for name, prefix in (("one", []), ("two", launch)):
        command = [sys.executable, *prefix, str(tmp_path / "script.py"), str(folder), str(tmp_path / name)]
        subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    single, parallel = (
        [json.loads(line) for line in (tmp_path / name / "train.jsonl").open()] for name in ("one", "two")
    )
    for first, second in zip(single, parallel, strict=True):
        for key in ("loss", "pixel", "identity", "discriminator", "held_out/identity_cosine"):
            assert first.get(key) == pytest.approx(second.get(key), abs=2e-4), key


@pytest.mark.slow
def test_it_learns(networks, tmp_path, monkeypatch):
    """On plain colours, with features that are linear in the colour; those of a random network would hardly differ."""
    # figures and checkpoints would take the most time
    monkeypatch.setattr(TrainingLoop, "_finish_epoch", lambda *_: None)
    monkeypatch.setattr(trainer, "check_features", lambda *_: None)
    mixing = np.random.default_rng(0).normal(size=(3, FEATURE_DIM))
    with FaceWriter(tmp_path / "colours.lmdb") as writer:
        for identity, colour in enumerate(product((40, 215), repeat=3)):
            for shade in (-15, 0, 15):
                pixels = np.add(colour, shade)
                feature = ((pixels / 127.5 - 1) @ mixing).astype(np.float32)
                writer.write(encode_jpeg(np.full((112, 112, 3), pixels, np.uint8)), identity, feature)
    plain = open_training_set(tmp_path / "colours.lmdb"), None
    losses = {name: {"weight": 0} for name in ("perceptual", "ssim", "token", "identity", "adversarial")}
    sizes = tiny_recipe().sizes.model_dump() | {"dropout": 0}
    changes = {"losses": losses, "sizes": sizes, "optimizer": {"lr": 0.003}, "ema_decay": None}
    run(plain, networks, tmp_path, epochs=60, **changes)
    rows = [row for row in read_json_lines(tmp_path / "train.jsonl") if "pixel" in row]
    assert rows[-1]["pixel"] < 0.5 * rows[0]["pixel"]


@pytest.mark.slow
def test_the_commands_from_faces_to_card_and_mlflow(tmp_path, monkeypatch):
    import yaml

    from bench.runs.cards import GeneratorCard, read_card
    from bench.runs.tracking.addresses import tracking_uri
    from generate.__main__ import make_parser

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def call(command, **options):
        flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        args = make_parser().parse_args([command, *flags, "--device", "cpu"])
        return args.run(args)

    faces = make_faces(tmp_path, num_identities=6, images_per_identity=3).path
    network, runs, out = save_network(tmp_path / "identity.safetensors"), tmp_path / "runs", tmp_path / "set"
    recipe = tiny_recipe().model_dump(mode="json", exclude={"name"})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"tiny": recipe}))
    assert "18 faces of 6 identities" in call("prepare", faces=faces, identity_model=network, out=out)
    train = {"faces": out / "faces.lmdb", "identity_model": network, "recipe": "tiny", "runs": runs}
    train["recipes"] = tmp_path / "mine.yaml"
    card_path = Path(call("train", **train).removeprefix("train: "))
    card = read_card(card_path, GeneratorCard)
    assert (card.dataset.num_identities, card.perceptual_network) == (4, "identity network")
    rows = read_json_lines(card_path.parent / "train.jsonl")
    assert card.figures["held_out/identity_cosine"] == rows[-1]["held_out/identity_cosine"]
    assert "skip, unchanged" in call("train", **train)

    import mlflow

    client = mlflow.MlflowClient(tracking_uri(runs))
    (tracked,) = client.search_runs([client.get_experiment_by_name("face training data").experiment_id])
    run_id = tracked.info.run_id
    assert tracked.info.status == "FINISHED" and tracked.info.run_name.startswith("generator tiny seed 0 ")
    assert len(client.get_metric_history(run_id, "held_out/identity_cosine")) == 2
    assert len(client.get_metric_history(run_id, "train/loss")) == 2
    assert [f.path for f in client.list_artifacts(run_id, "grids")] == [
        "grids/epoch_0001.png",
        "grids/epoch_0002.png",
    ]


def test_training_starts_with_equal_pixels_per_place():
    torch.manual_seed(0)
    recipe = tiny_recipe()
    recipe = recipe.model_copy(update={"sizes": recipe.sizes.model_copy(update={"multipliers": (1, 1, 1)})})
    decoder = build_generator(recipe).im_decoder
    with torch.no_grad():
        places = decoder(torch.randn(2, recipe.sizes.latent_channels, 7, 7)).unfold(2, 4, 4).unfold(3, 4, 4)
    torch.testing.assert_close(places, places[..., :1, :1].expand_as(places))
    assert places.std() > 0
