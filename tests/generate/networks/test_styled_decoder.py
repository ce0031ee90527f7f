"""The decoder that the feature styles: shapes, determinism, gradients, and what acts on what."""

import pytest
import torch

from bench.errors import InputError
from generate.networks.styled_decoder import StyledDecoder
from generate.vec2face import Architecture, Vec2Face, load_generator, save_generator

STYLED = Architecture(
    20, 32, 1, 2, 1, 2, 4, (1, 1, 2, 2, 2), 8, own_tokens=True, style_width=16, circumstances=6
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("one_thread")


def make_decoder(seed=0):
    torch.manual_seed(seed)
    decoder = StyledDecoder(4, (1, 1, 2, 2, 2), 8, feature_dim=5, style_width=16)
    decoder.initialise()
    return decoder


def test_images_are_a_deterministic_function_of_grid_and_features():
    grid, features = torch.randn(3, 8, 7, 7), torch.randn(3, 5)
    images = make_decoder()(grid, features)
    assert images.shape == (3, 3, 112, 112)
    assert torch.equal(images, make_decoder()(grid, features))
    for row in range(3):
        torch.testing.assert_close(make_decoder()(grid[row : row + 1], features[row : row + 1])[0], images[row])
    changed = features.clone()
    changed[0, 0] += 1
    difference = (make_decoder()(grid, changed) - images).abs().amax(dim=(1, 2, 3))
    assert difference[0] > 0 and (difference[1:] == 0).all()


def test_gradients_reach_every_parameter():
    decoder = make_decoder()
    decoder(torch.randn(4, 8, 7, 7), torch.randn(4, 5)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in decoder.parameters())


def test_the_first_image_is_grey_and_the_style_starts_small():
    decoder = make_decoder()
    grid, features = torch.randn(4, 8, 7, 7), torch.randn(4, 5)
    assert decoder(grid, features).abs().max() < 0.5
    for level in decoder.levels:
        scale_and_shift = level.enter.style(decoder.to_style(features))
        assert scale_and_shift.abs().mean() < 0.5


def test_it_needs_five_multipliers():
    with pytest.raises(InputError, match=r"multipliers=\[1, 2, 4\]: a decoder with style_width=16 ends at full"):
        StyledDecoder(4, (1, 2, 4), 8, feature_dim=5, style_width=16)


def test_a_generator_with_a_style_is_saved_and_loaded(tmp_path):
    torch.manual_seed(0)
    generator = Vec2Face(STYLED).eval()
    save_generator(generator, tmp_path / "generator.safetensors")
    loaded = load_generator(tmp_path / "generator.safetensors")
    assert loaded.architecture == STYLED
    given = torch.randn(2, 20), torch.rand(2, 49), 0.3
    with torch.no_grad():
        torch.testing.assert_close(loaded(*given), generator(*given), atol=1e-5, rtol=0)
    assert loaded(*given).shape == (2, 3, 112, 112)


def test_the_feature_acts_where_all_tokens_are_masked():
    """Masked tokens hold the identity token alone; the style still tells two features apart at every resolution."""
    torch.manual_seed(0)
    generator = Vec2Face(STYLED).eval()
    generator.im_decoder.initialise()
    tokens = torch.zeros(2, 50, 32)
    images = generator.paint(tokens, torch.stack([torch.zeros(20), torch.ones(20)]))
    assert not torch.equal(images[0], images[1])
