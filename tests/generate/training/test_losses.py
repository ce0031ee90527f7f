"""Terms of the generator's loss, their networks and the recipes, each against a slow and obvious reference."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from generator_training import save_network, tiny_recipe

from bench.errors import InputError
from generate.networks.identity import load_identity_network, map_distance
from generate.training.discriminators.vec2face import Discriminator, discriminator_loss
from generate.training.losses import VGG_NAME, LossTerms, Reconstruction, load_lpips, same_view
from generate.training.recipes import RECIPES_PATH, GeneratorRecipe, Term, load_recipe

CPU = torch.device("cpu")
WEIGHTS = {"pixel": 1.0, "perceptual": 1.0, "ssim": 1.0, "token": 1.0, "identity": 1.0, "adversarial": 0.0}


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    return load_identity_network(save_network(tmp_path_factory.mktemp("network") / "identity.safetensors"))


@pytest.fixture
def reconstructed():
    """A reconstruction, the original faces and their features."""
    torch.manual_seed(0)
    images = (0.3 * torch.randn(3, 3, 112, 112)).requires_grad_()
    faces = (images.detach() + 0.2 * torch.randn(3, 3, 112, 112)).clamp(-1, 1)
    return Reconstruction(images, torch.randn(3, 49, 8), torch.randn(3, 49, 8)), faces, torch.randn(3, 16)


def test_terms_equal_their_formulas(identity, reconstructed, tmp_path):
    reconstruction, faces, features = reconstructed
    terms = LossTerms(identity, weights=tmp_path, device=CPU, with_ssim=True)(reconstruction, faces, features, WEIGHTS)
    images = reconstruction.images
    assert terms["pixel"].item() == pytest.approx(((images - faces) ** 2).mean().item())
    difference = reconstruction.tokens - reconstruction.target_tokens
    assert terms["token"].item() == pytest.approx((difference**2).mean().item())
    image_features = identity(images)
    cosines = [(a @ b / a.norm() / b.norm()).item() for a, b in zip(image_features, features, strict=True)]
    assert terms["identity"].item() == pytest.approx(1 - np.mean(cosines), abs=1e-5)
    maps, face_maps = identity.with_maps(images)[1], identity.with_maps(faces)[1]
    assert maps[0].shape[-1] == 112 and maps[-1].shape[-1] == 7
    assert terms["perceptual"].item() == pytest.approx(slow_distance(maps, face_maps), abs=1e-5)
    assert terms["ssim"].item() == pytest.approx(1 - slow_ssim(images / 2 + 0.5, faces / 2 + 0.5), abs=1e-4)
    sum(terms.values()).backward()
    assert images.grad.abs().sum() > 0


def test_views_shift_all_images_alike_and_blur_two_thirds_of_the_time():
    torch.manual_seed(0)
    ramp = torch.arange(112.0).expand(1, 3, 112, 112)
    shifts = set()
    for _ in range(200):
        view, other_view = same_view(ramp, ramp + 1)
        assert view.shape == ramp.shape
        torch.testing.assert_close(other_view, view + 1, rtol=0, atol=1e-4)
        inside = view[0, 0, 50, 10:100]
        torch.testing.assert_close(inside.diff(), torch.ones(89), rtol=0, atol=1e-3)  # a slope survives both
        shifts.add(round((inside[0] - 10).item()))
    assert shifts == {-2, -1, 0, 1, 2}
    noise = torch.randn(1, 3, 112, 112)
    variances = [same_view(noise)[0].var().item() for _ in range(200)]
    counts = [
        sum(low < variance < high for variance in variances) for low, high in ((0.8, 1.2), (0.05, 0.3), (0, 0.05))
    ]
    assert sum(counts) == 200 and min(counts) > 40  # a third of the views at each resolution


def test_views_reach_what_the_networks_see_and_not_the_pixels(identity, reconstructed, tmp_path):
    reconstruction, faces, features = reconstructed
    options = {"weights": tmp_path, "device": CPU, "with_ssim": False}
    plain = LossTerms(identity, **options)(reconstruction, faces, features, WEIGHTS)
    viewed = LossTerms(identity, **options, judged_views=True)(reconstruction, faces, features, WEIGHTS)
    assert viewed["pixel"] == plain["pixel"]
    assert viewed["perceptual"] != plain["perceptual"] and viewed["identity"] != plain["identity"]


def slow_distance(first, second):
    values = []
    for maps, other_maps in zip(first, second, strict=True):
        distances = []
        for b in range(maps.shape[0]):
            for a, c in zip(maps[b].flatten(1).T, other_maps[b].flatten(1).T, strict=True):
                distances.append(
                    (F.normalize(a, dim=0, eps=1e-6) - F.normalize(c, dim=0, eps=1e-6)).square().sum().item()
                )
        values.append(np.mean(distances))
    return np.mean(values)


def slow_ssim(first, second):
    """Wang et al. 2004 with an 11 x 11 Gaussian window of sigma 1.5, valid positions only, range 1."""
    x = torch.arange(11.0) - 5
    g = torch.exp(-(x**2) / (2 * 1.5**2))
    window = (g[:, None] * g[None] / g.sum() ** 2).expand(3, 1, 11, 11)
    blur = lambda image: F.conv2d(image, window, groups=3)  # noqa: E731
    a, b = blur(first), blur(second)
    var_a, var_b, covariance = blur(first**2) - a**2, blur(second**2) - b**2, blur(first * second) - a * b
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * a * b + c1) * (2 * covariance + c2) / ((a**2 + b**2 + c1) * (var_a + var_b + c2))).mean().item()


def test_terms_of_weight_zero_are_not_computed(identity, reconstructed, tmp_path):
    terms = LossTerms(identity, weights=tmp_path, device=CPU, with_ssim=True)
    assert terms(*reconstructed, dict.fromkeys(WEIGHTS, 0.0) | {"pixel": 1.0}).keys() == {"pixel"}


def test_the_identity_network_takes_no_gradient_and_stays_in_eval_mode(identity):
    identity.train()
    assert not any(module.training for module in identity.modules())
    assert not any(parameter.requires_grad for parameter in identity.parameters())
    assert map_distance(*(identity.with_maps(torch.zeros(1, 3, 112, 112))[1],) * 2) == 0


def test_the_perceptual_network_is_named(identity, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert load_lpips(tmp_path, CPU) is None
    assert LossTerms(identity, weights=tmp_path, device=CPU, with_ssim=False).perceptual_network == "identity network"


@pytest.mark.slow
def test_lpips_is_taken_where_vggs_weights_are_at_hand(identity, tmp_path):
    torchvision = pytest.importorskip("torchvision")
    pytest.importorskip("lpips")
    torch.manual_seed(0)
    vgg = torchvision.models.vgg16()
    torch.save(vgg.state_dict(), tmp_path / VGG_NAME)
    terms = LossTerms(identity, weights=tmp_path, device=CPU, with_ssim=False)
    assert terms.perceptual_network == "LPIPS (VGG)"
    assert torch.equal(terms.lpips.net.slice1[0].weight, vgg.features[0].weight)
    assert torch.equal(terms.lpips.net.slice5[-2].weight, vgg.features[28].weight)
    images = torch.rand(2, 3, 112, 112)
    assert terms.lpips(images, images).abs().max() == 0
    assert terms.lpips(images, -images).min() > 0


def test_a_missing_package_is_named(identity, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_msssim", None)
    with pytest.raises(InputError, match=r"needs pytorch-msssim; run \.venv/bin/pip install -e '\.\[generator\]'"):
        LossTerms(identity, weights=tmp_path, device=CPU, with_ssim=True)


def test_the_discriminator_is_the_references():
    with torch.device("meta"):
        discriminator = Discriminator()
        logits = discriminator(torch.zeros(2, 3, 112, 112))
    assert logits.shape == (2, 1, 11, 11)
    convolutions = [m for m in discriminator.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions] == [
        (3, 32, 3, 1), (3, 16, 7, 1), (3, 16, 15, 1),
        (64, 128, 4, 2), (128, 128, 3, 1), (128, 256, 4, 2), (256, 256, 3, 1), (256, 512, 4, 2), (512, 512, 3, 1),
        (512, 512, 1, 1), (512, 1, 4, 1),
    ]  # fmt: skip
    real, generated = torch.tensor([1.0, 0.0]), torch.tensor([0.5, -0.5])
    assert discriminator_loss(real, generated).item() == pytest.approx(0.5 * (0.5 + 0.25))
    with pytest.raises(InputError, match=r"discriminator_widths=\[64\]"):
        Discriminator((64,))


def test_weights_start_and_rise_as_the_recipe_says():
    term = Term(weight=2.0, start_epoch=3, ramp_epochs=2)
    assert [term.weight_at(epoch) for epoch in (0, 2.99, 3, 4, 5, 9)] == [0, 0, 0.02, 1.0, 2.0, 2.0]
    assert tiny_recipe().losses.weights_at(0.5)["identity"] == 0


def test_the_presets_have_the_published_weights_and_schedules():
    paper, present = load_recipe("paper"), load_recipe("present")
    for recipe, perceptual, ssim, start, epochs in ((paper, 2.0, 1.0, 100, 800), (present, 0.2, 0.1, 80, 100)):
        losses = recipe.losses
        assert (losses.perceptual.weight, losses.ssim.weight) == (perceptual, ssim)  # LPIPS; the reference doubles it
        assert (losses.pixel.weight, losses.token.weight, losses.identity.weight) == (1, 1, 1)
        assert (losses.adversarial.weight, losses.adversarial.start_epoch) == (1, start)
        assert (recipe.epochs, recipe.warmup_epochs, recipe.batch_size) == (epochs, 5, 128)
        assert recipe.optimizer.lr == pytest.approx(4e-5 * 128 / 112, rel=1e-4)
        assert (recipe.optimizer.betas, recipe.optimizer.grad_clip) == ((0.9, 0.99), 2.0)
        assert recipe.masking.model_dump() == {"low": 0.5, "high": 1.0, "mean": 0.75, "std": 0.25}


def test_every_recipe_loads_and_mistakes_are_named(tmp_path):
    from bench.config.yaml_file import read_yaml

    for name in read_yaml(RECIPES_PATH):
        assert isinstance(load_recipe(name), GeneratorRecipe)
    with pytest.raises(InputError, match=r"recipe presen is not in .*; did you mean present\?"):
        load_recipe("presen")
    path = tmp_path / "mine.yaml"
    path.write_text("a:\n  about: x\n  optimizer: {lr: 0.1, betaz: [0, 1]}\n  batch_size: 4\n  epochs: 0\nb: 3\n")
    with pytest.raises(InputError, match=r"mine\.yaml: a: .*betaz is unknown \(did you mean betas\?.*epochs: .*got 0"):
        load_recipe("a", path)
    with pytest.raises(InputError, match=r"mine\.yaml: b is 3; give a map of names"):
        load_recipe("b", path)


@pytest.mark.parametrize(
    "masking", ["{low: 0.8, high: 0.5}", "{low: 0.5, high: 0.5}", "{low: 0.99, mean: 0, std: 0.01}"]
)
def test_a_range_of_masks_that_is_never_drawn_is_refused(tmp_path, masking):
    path = tmp_path / "generators.yaml"
    path.write_text(
        RECIPES_PATH.read_text().replace("masking: {low: 0.1, high: 1.0, mean: 0.15, std: 0.25}", f"masking: {masking}")
    )
    with pytest.raises(InputError, match=r"rendered: masking: low=.* never or hardly ever between them; give a wider"):
        load_recipe("rendered", path)
