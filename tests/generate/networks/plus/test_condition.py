"""The pose network and the generator that it conditions, at small size, beside a decode that is written out by hand."""

import pytest
import torch
from small_generation import SIZE, make_posed_generator

from bench.errors import InputError
from generate.networks.plus.condition import POSED_DROP_RATIO, PoseNetwork
from generate.vec2face import Vec2Face, token_masks

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def posed():
    return make_posed_generator()


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(4)
    features, noise = torch.randn(3, SIZE.feature_dim, generator=generator), torch.rand(3, 49, generator=generator)
    return features, noise, torch.tensor([0.81, 0.85, 0.9], dtype=torch.float64)


def landmark_pictures(num, seed=5):
    return torch.rand(num, 3, 112, 112, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def decode_by_hand(model, latent, positions, masked, token):
    """Token by token: the pose where a token was dropped or masked, else the encoder's output as it is."""
    restored = []
    for row in range(len(latent)):
        kept = dict(zip(positions[row].tolist(), latent[row], strict=True))
        tokens = [kept[0]]
        for place in range(1, 50):
            is_hidden = masked[row, place - 1] or place not in kept
            tokens.append(token[row, 0] if is_hidden else kept[place])
        restored.append(torch.stack(tokens))
    tokens = torch.stack(restored) + model.decoder_pos_embed_learned
    for block in model.decoder_blocks:
        tokens = block(tokens)
    return model.decoder_norm(tokens)


def test_a_pose_fills_the_hidden_tokens_and_skips_decoder_embed(posed, inputs):
    features, noise, ratio = inputs
    model, token = posed.posed, posed.condition(landmark_pictures(3))
    dropped, masked = token_masks(noise, ratio, POSED_DROP_RATIO)
    assert dropped.sum(1).tolist() == [40, 40, 40] and masked.sum(1).tolist() == [40, 42, 45]
    latent, positions = model.encode(model.expand(features), dropped, masked)
    tokens = decode_by_hand(model, latent, positions, masked, token)
    images = posed(features, noise, ratio, landmark_pictures(3))
    torch.testing.assert_close(images, model.paint(tokens, features), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        model.decoder_embed.weight.mul_(2)
    assert torch.equal(posed(features, noise, ratio, landmark_pictures(3)), images)
    with torch.no_grad():
        model.decoder_embed.weight.div_(2)


def test_the_identity_token_as_the_pose_is_not_the_image_without_a_pose(posed, inputs):
    features, noise, ratio = inputs
    model = posed.posed
    dropped, masked = token_masks(noise, ratio, POSED_DROP_RATIO)
    latent, positions = model.encode(model.expand(features), dropped, masked)
    without = model.decode(latent, positions, masked)
    assert (model.decode(latent, positions, masked, latent[:, :1]) - without).abs().max() > 0.01


def test_without_pictures_it_draws_as_the_main_model(posed, inputs):
    features, noise, _ = inputs
    assert torch.equal(posed(features, noise, 0.3), posed.main(features, noise, 0.3))
    assert not torch.equal(posed(features, noise, 0.3), posed.posed(features, noise, 0.3))
    assert posed.architecture == SIZE


def test_a_row_follows_its_own_picture_and_no_other(posed, inputs):
    features, noise, ratio = inputs
    pictures = landmark_pictures(3)
    before = posed(features, noise, ratio, pictures)
    pictures[1] = -pictures[1]
    after = posed(features, noise, ratio, pictures)
    assert (before - after).abs().amax((1, 2, 3)).gt(1e-4).tolist() == [False, True, False]


def test_gradients_reach_features_and_pictures(posed, inputs):
    features, noise, ratio = inputs
    features, pictures = features.clone().requires_grad_(), landmark_pictures(3).requires_grad_()
    posed(features, noise, ratio, pictures).square().sum().backward()
    assert features.grad.abs().sum() > 0 and pictures.grad.abs().sum() > 0


def test_training_starts_from_the_zero_token():
    assert not PoseNetwork(32, (2, 2, 2, 2))(landmark_pictures(2)).any()


@pytest.mark.parametrize("shape", [(2, 3, 96, 112), (2, 1, 112, 112), (3, 112, 112), (2, 112, 112, 3)])
def test_pictures_of_another_size_are_refused(shape):
    with pytest.raises(InputError, match=r"landmark pictures have shape \(.*\); give \(B, 3, 112, 112\)"):
        PoseNetwork(32, (2, 2, 2, 2))(torch.zeros(shape))


def test_as_many_pictures_as_features_are_needed(posed, inputs):
    with pytest.raises(InputError, match="2 landmark pictures came with 3 features; give one picture per feature"):
        posed(*inputs, landmark_pictures(2))


def test_the_generator_without_a_pose_is_unchanged_by_the_new_arguments(inputs):
    torch.manual_seed(0)
    model = Vec2Face(SIZE).eval()
    features, noise, _ = inputs
    assert torch.equal(model(features, noise, 0.3), model(features, noise, 0.3, fill=None, drop_ratio=0.1))
