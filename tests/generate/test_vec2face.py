"""The Vec2Face generator: equal to the reference in weights, values and gradients; broken weight files."""

import json
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from paths import GOLDEN

from bench.errors import InputError
from generate.networks.vec2face_decoder import ImageDecoder, Upsample
from generate.vec2face import VARIANTS, Architecture, Vec2Face, load_generator, save_generator, token_masks, vec2face

sys.path.insert(0, str(GOLDEN))
from fill import fill_

TINY = Architecture(
    width=48, depth=2, num_heads=3, decoder_depth=1, decoder_heads=2, channels=32, multipliers=(1, 1, 1, 1, 1),
    latent_channels=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "vec2face_vit_base_patch16.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def base():
    return fill_(vec2face()).eval()


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return Vec2Face(TINY).eval()


def worst(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def test_state_dict_is_the_released_one_name_by_name(base):
    ours = [[name, list(t.shape), str(t.dtype).split(".")[1]] for name, t in base.state_dict().items()]
    assert ours == json.loads((GOLDEN / "vec2face_vit_base_patch16.keys.json").read_text())


def test_masks_tokens_image_and_gradient_equal_the_reference(base, golden):
    features, noise, ratio = golden["rep"].clone().requires_grad_(), golden["noise"], golden["mask_rate"].item()
    dropped, masked = token_masks(noise, ratio)
    assert torch.equal(dropped, golden["token_drop_mask"][:, 1:].bool())
    assert torch.equal(masked, golden["token_all_mask"][:, 1:].bool())
    tokens = base.expand(features)
    latent, positions = base.encode(tokens, dropped, masked)
    restored = base.decode(latent, positions, masked)
    image = base(features, noise, ratio)
    (image * golden["cotangent"].float()).mean().backward()
    for ours, name in (
        (tokens, "target_tokens"),
        (latent, "latent"),
        (restored, "tokens"),
        (image, "image"),
        (features.grad, "grad_rep_of_mean_image_times_cotangent"),
    ):
        assert worst(ours, golden[name]) < 1e-4, name


@pytest.mark.parametrize("variant", ["large", "huge"])
def test_other_variants_have_the_published_width_and_depth(variant):
    with torch.device("meta"):
        model = vec2face(variant)
    width, depth = {"large": (1024, 24), "huge": (1280, 32)}[variant]
    assert (len(model.blocks), len(model.decoder_blocks), model.norm.weight.shape[0]) == (depth, 8, width)


def test_mask_counts_are_exact_when_noise_ties():
    dropped, masked = token_masks(torch.zeros(3, 49), torch.tensor([0.0, 0.15, 1.0]))
    assert dropped.sum(1).tolist() == [5, 5, 5]
    assert masked.sum(1).tolist() == [5, 8, 49]


def test_mask_count_does_not_round_over_a_whole_number():
    ratio = 7 / 49  # in float32 49 * ratio may land above 7
    assert token_masks(torch.rand(1, 49), ratio)[1].sum() == 7


def test_a_ratio_per_sample_is_the_scalar_of_each(tiny):
    features, noise = torch.randn(2, 512), torch.rand(2, 49)
    both = tiny(features, noise, torch.tensor([0.2, 0.6], dtype=torch.float64))
    for index, ratio in enumerate((0.2, 0.6)):
        alone = tiny(features, noise, ratio)[index]
        torch.testing.assert_close(both[index], alone)


def test_forward_is_pure(tiny):
    features, noise = torch.randn(2, 512), torch.rand(2, 49)
    state = torch.get_rng_state()
    first = tiny.train()(features, noise, 0.3)
    assert torch.equal(first, tiny(features, noise, 0.3))
    assert torch.equal(state, torch.get_rng_state())


def test_upsample_is_doubling_then_convolution():
    torch.manual_seed(1)
    layer, x = Upsample(4).double(), torch.randn(2, 4, 5, 7).double()
    plain = layer.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    torch.testing.assert_close(layer(x), plain, rtol=1e-6, atol=1e-6)


def test_ours_round_trips_and_bfloat16_stays_near(tiny, tmp_path):
    save_generator(tiny, tmp_path / "g.safetensors")
    again = load_generator(tmp_path / "g.safetensors")
    features, noise = torch.randn(2, 512), torch.rand(2, 49)
    torch.testing.assert_close(again(features, noise, 0.2), tiny(features, noise, 0.2))
    half = load_generator(tmp_path / "g.safetensors", dtype=torch.bfloat16)(features, noise, 0.2)
    assert half.dtype == torch.float32
    assert worst(half, tiny(features, noise, 0.2)) < 0.1


@pytest.mark.slow
def test_released_file_loads_with_weights_only(base, tmp_path):
    torch.save({"model_vec2face": base.state_dict(), "epoch": 3}, tmp_path / "vec2face_generator.pth")
    model = load_generator(tmp_path / "vec2face_generator.pth")
    assert not model.training
    assert all(torch.equal(tensor, base.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_wrong_weights_are_named(base, tmp_path):
    shapes = {name: tensor.shape for name, tensor in base.state_dict().items()}
    state = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}  # 1 number each on disk
    whole = dict(state)
    del state["norm.bias"]
    torch.save({"model_vec2face": state | {"extra.weight": torch.zeros(1)}}, tmp_path / "less.pth")
    with pytest.raises(InputError, match=r"1 entries missing, first norm.bias; 1 entries unexpected, first extra"):
        load_generator(tmp_path / "less.pth")
    torch.save({"layer1.0.bn1.weight": torch.zeros(1)}, tmp_path / "arcface.pth")
    with pytest.raises(InputError, match="looks like an IResNet"):
        load_generator(tmp_path / "arcface.pth")
    torch.save({"model_vec2face": whole | {"norm.bias": torch.zeros(3)}}, tmp_path / "shape.pth")
    with pytest.raises(InputError, match=r"norm.bias is \(3,\), not \(768,\)"):
        load_generator(tmp_path / "shape.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_files_say_what_they_are(tiny, tmp_path, suffix):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        torch.save({"model_vec2face": tiny.state_dict()}, whole)
    else:
        save_generator(tiny, whole)
    cut.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(InputError, match="5000 bytes, cut short"):
        load_generator(cut)
    cut.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="Git LFS pointer"):
        load_generator(cut)
    cut.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(InputError, match="web page"):
        load_generator(cut)
    with pytest.raises(InputError, match=r"do not exist; run \.venv/bin/python -m generate fetch"):
        load_generator(tmp_path / f"none{suffix}")


class Harmful:
    def __reduce__(self):
        return (print, ("harm",))


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    torch.save({"model_vec2face": Harmful()}, tmp_path / "harm.pth")
    with pytest.raises(InputError, match="could run code and are refused"):
        load_generator(tmp_path / "harm.pth")
    assert capsys.readouterr().out == ""


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(InputError, match="width=50 cannot be divided by num_heads=12"):
        Vec2Face(Architecture(width=50))
    with pytest.raises(InputError, match="choose from base, large, huge"):
        vec2face("small")
    assert set(VARIANTS) == {"base", "large", "huge"}


@pytest.mark.parametrize("multipliers", [(1, 1, 1), (1, 1, 1, 1)])
def test_a_smooth_decoder_gives_the_mean_of_each_pixel_and_its_neighbours(multipliers):
    torch.manual_seed(0)
    sharp, smooth = (ImageDecoder(8, multipliers, 4, smooth=on).eval() for on in (False, True))
    smooth.load_state_dict(sharp.state_dict())
    grid = torch.randn(1, 4, 7, 7)
    with torch.no_grad():
        before, after = sharp(grid)[0], smooth(grid)[0]
    size = sharp.pixels_per_place
    for row, column in ((0, 0), (50, 61), (111, 111), (3, 110)):
        rows = [min(max(row + step, 0), 111) for step in range(-((size - 1) // 2), size // 2 + 1)]
        columns = [min(max(column + step, 0), 111) for step in range(-((size - 1) // 2), size // 2 + 1)]
        expected = before[:, rows][:, :, columns].mean((1, 2))
        torch.testing.assert_close(after[:, row, column], expected, rtol=1e-4, atol=1e-5)


def test_own_tokens_are_one_projection_each_and_round_trip(tmp_path):
    torch.manual_seed(0)
    model = Vec2Face(Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1), 8, own_tokens=True)).eval()
    features = torch.randn(2, 16)
    tokens = model.expand(features)
    torch.testing.assert_close(tokens[:, 0], model.latent_prior_proj_f(features))
    weight, bias = model.grid_tokens.weight, model.grid_tokens.bias
    for place in range(49):
        rows = slice(32 * place, 32 * place + 32)
        torch.testing.assert_close(tokens[:, 1 + place], features @ weight[rows].T + bias[rows], rtol=1e-4, atol=1e-5)
    save_generator(model, tmp_path / "own.safetensors")
    again = load_generator(tmp_path / "own.safetensors")
    assert again.architecture.own_tokens
    noise = torch.rand(2, 49)
    torch.testing.assert_close(again(features, noise, 0.3), model(features, noise, 0.3), rtol=1e-4, atol=1e-5)
