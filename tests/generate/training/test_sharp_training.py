"""Training with circumstances, style and projection discriminator: resumed bit for bit, gradients, bad input."""

import numpy as np
import pytest
import torch
from face_files import make_faces
from generator_training import FEATURE_DIM, checkpoint_state, die_at_the_fifth_step, save_network, tiny_recipe

from bench.errors import InputError
from bench.faces.lmdb_file import FaceWriter
from bench.files import read_json_lines
from generate.networks.circumstances import NUM_CIRCUMSTANCES
from generate.networks.identity import load_identity_network
from generate.networks.masks import MaskRatio
from generate.networks.over_faces import outputs_over_faces
from generate.training.data import FeatureBatches, open_training_set
from generate.training.recipes import RECIPES_PATH, Losses, Sizes, load_recipe
from generate.training.state import TrainState, build_discriminator, build_generator
from generate.training.train import GENERATOR_NAME, FrozenNetworks, TrainOptions, train_generator
from generate.vec2face import load_generator

EXTRA = 5
pytestmark = pytest.mark.usefixtures("one_thread")


def sharp_recipe(**changes):
    tiny = tiny_recipe()
    settings = {
        "sizes": tiny.sizes.model_dump()
        | {"feature_dim": FEATURE_DIM + EXTRA, "circumstances": EXTRA, "style_width": 8, "own_tokens": True},
        "losses": {
            "pixel": {"weight": 0.0},
            "absolute": {"weight": 1.0},
            "perceptual": {"weight": 0.3},
            "ssim": {"weight": 0.2},
            "token": {"weight": 0.0},
            "identity": {"weight": 0.1},
            "adversarial": {"weight": 0.03, "start_epoch": 1, "ramp_epochs": 0.5},
        },
        "optimizer": {"lr": 0.002, "discriminator_lr": 0.0003},
        "discriminator": "projection",
        "perceptual": "identity",
        "precision": "bf16",
    }
    return tiny_recipe(**settings | changes)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Faces whose features are those of a network, then made-up circumstances; and the network."""
    directory = tmp_path_factory.mktemp("set")
    faces = make_faces(directory, num_identities=6, images_per_identity=3)
    weights = save_network(directory / "identity.safetensors")
    rng = np.random.default_rng(0)
    images = np.stack([faces.image(row) for row in range(len(faces))])
    features = outputs_over_faces(load_identity_network(weights), images, batch_size=4)
    with FaceWriter(directory / "faces.lmdb") as writer:
        for row, feature in enumerate(features):
            extra = rng.standard_normal(EXTRA).astype(np.float32)
            writer.write(faces.encoded(row), int(faces.identity_ids[row]), np.concatenate([feature, extra]))
    return open_training_set(directory / "faces.lmdb"), FrozenNetworks(load_identity_network(weights))


def run(prepared, directory, **changes):
    faces, networks = prepared
    options = TrainOptions(num_workers=0)
    return train_generator(faces, networks, sharp_recipe(**changes), directory, seed=0, options=options)


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished")
    return directory, run(prepared, directory)


def test_the_journal_has_the_terms_of_the_recipe(finished):
    directory, summary = finished
    rows = read_json_lines(directory / "train.jsonl")
    assert {"absolute", "perceptual", "ssim", "identity"} < rows[0].keys() and "pixel" not in rows[0]
    assert {"adversarial", "discriminator"} < rows[2].keys() and "adversarial" not in rows[0]
    for name in ("absolute", "sharpness", "identity_cosine"):
        assert np.isfinite(rows[-1][f"held_out/{name}"])
    assert summary.perceptual_network == "identity network"
    generator = load_generator(directory / GENERATOR_NAME)
    assert generator.architecture.circumstances == EXTRA and generator.architecture.style_width == 8


def test_a_killed_run_ends_with_the_same_bits(finished, prepared, tmp_path, monkeypatch):
    steps = die_at_the_fifth_step(monkeypatch, TrainState)
    with pytest.raises(KeyboardInterrupt):
        run(prepared, tmp_path)
    run(prepared, tmp_path)
    assert steps == [0, 1, 2, 3, 4, 3, 4, 5]
    assert_equal(checkpoint_state(finished[0]), checkpoint_state(tmp_path))
    assert (finished[0] / GENERATOR_NAME).read_bytes() == (tmp_path / GENERATOR_NAME).read_bytes()


def assert_equal(first, second):
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            assert_equal(first[name], second[name])
    elif isinstance(first, list | tuple):
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


class _Terms:
    """Losses without a network."""

    perceptual_network = "none"

    def __call__(self, reconstruction, faces, features, weights):
        return {"absolute": (reconstruction.images - faces).abs().mean()}


def test_gradients_reach_every_parameter_of_both_networks(prepared):
    faces, _ = prepared
    recipe = sharp_recipe(precision="float32")
    torch.manual_seed(0)
    state = TrainState(recipe, _Terms(), seed=0, device=torch.device("cpu"))
    batches = FeatureBatches(faces, np.arange(len(faces)), MaskRatio(), batch_size=4, seed=0)
    state.update(batches[0], 1e-3, {"absolute": 1.0, "adversarial": 0.03})
    for network in (state.generator, state.discriminator):
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and name != "looks_real.bias":
                assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_generator_s_adversarial_gradient_does_not_move_the_discriminator(prepared):
    """Weights of the discriminator come from its own hinge loss alone."""
    recipe = sharp_recipe()
    torch.manual_seed(0)
    discriminator = build_discriminator(recipe)
    images, features = torch.rand(2, 3, 112, 112, requires_grad=True), torch.randn(2, FEATURE_DIM + EXTRA)
    discriminator.requires_grad_(False)
    (-discriminator(images, features).mean()).backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in discriminator.parameters())


def test_the_generator_starts_the_same_for_a_seed_and_takes_the_style():
    torch.manual_seed(3)
    first = build_generator(sharp_recipe())
    torch.manual_seed(3)
    second = build_generator(sharp_recipe())
    assert_equal(first.state_dict(), second.state_dict())
    assert any("style" in name for name in first.state_dict())


def test_features_without_circumstances_are_refused(prepared, tmp_path):
    sizes = sharp_recipe().sizes.model_dump() | {"circumstances": 2}
    message = r"features of width 21, the identity network gives 16 \+ 2 circumstances and the generator takes"
    with pytest.raises(InputError, match=message):
        run(prepared, tmp_path, sizes=sizes)


def test_circumstances_must_leave_identity_features():
    with pytest.raises(ValueError, match="circumstances=8 leaves no identity features of feature_dim=8; lower it"):
        Sizes(feature_dim=8, circumstances=8)


def test_new_fields_leave_the_dumps_of_other_recipes_alone():
    """Fingerprints of trainings are hashes of these dumps."""
    for name in ("rendered", "plus", "paper", "present"):
        dump = load_recipe(name, RECIPES_PATH).model_dump(mode="json")
        assert not {"discriminator", "perceptual"} & dump.keys()
        assert not {"style_width", "circumstances"} & dump["sizes"].keys()
        assert "absolute" not in dump["losses"] and "discriminator_lr" not in dump["optimizer"]
    assert "absolute" in Losses(absolute={"weight": 1.0}).model_dump()


def test_the_recipe_is_that_of_the_training_set():
    recipe = load_recipe("sharp", RECIPES_PATH)
    assert recipe.sizes.circumstances == NUM_CIRCUMSTANCES
    assert recipe.sizes.feature_dim == 128 + NUM_CIRCUMSTANCES
    assert recipe.losses.adversarial.start_epoch * 3 == recipe.epochs * 2  # from two thirds of the training on
