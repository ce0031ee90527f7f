"""Margins equal values of the authors' code, and values and gradients of the published formulas in float64."""

import math

import numpy as np
import pytest
import torch
from paths import GOLDEN
from torch.nn import functional as F

from bench.errors import InputError
from fr_train.margin import MARGINS, make_margin

GOLDEN = np.load(GOLDEN / "margins.npz")
LABELS = torch.from_numpy(GOLDEN["labels"])
NORMS = torch.from_numpy(GOLDEN["embeddings"]).norm(dim=1)
CASES = [
    ("arcface_s64_m0.5", "arcface", {}),
    ("cosface_s64_m0.4", "cosface", {}),
    ("sphereface_s64_m1.7", "sphereface", {}),
    ("combined_1.0_0.5_0.0", "combined", {}),
    ("combined_1.0_0.0_0.4", "combined", {"margin": 0.0, "cosine_margin": 0.4}),
    ("curricularface_s64_m0.5_t0", "curricularface", {}),
    ("adaface_s64_m0.4_h0.333_talpha1_first_batch", "adaface", {}),
    ("magface_no_easy_margin_s64_10_110_0.45_0.8", "magface", {}),
]


def golden_cosine():
    return torch.from_numpy(GOLDEN["cosine"].copy())


@pytest.mark.parametrize(("name", "kind", "parameters"), CASES)
def test_logits_equal_the_authors(name, kind, parameters):
    margin = make_margin(kind, **parameters).train()
    logits, regularizer = margin(golden_cosine(), LABELS, NORMS)
    np.testing.assert_allclose(logits.detach().numpy(), GOLDEN[name], atol=1e-5 * np.abs(GOLDEN[name]).max())
    if f"{name}_cross_entropy" in GOLDEN:
        assert float(F.cross_entropy(logits, LABELS)) == pytest.approx(float(GOLDEN[f"{name}_cross_entropy"]), rel=1e-5)
    if f"{name}_regularizer" in GOLDEN:
        assert float(regularizer) == pytest.approx(float(GOLDEN[f"{name}_regularizer"]), rel=1e-5)


def test_running_statistics_equal_the_authors():
    curricular, ada = make_margin("curricularface").train(), make_margin("adaface").train()
    curricular(golden_cosine(), LABELS)
    ada(golden_cosine(), LABELS, NORMS)
    np.testing.assert_allclose(curricular.t, GOLDEN["curricularface_t_after"], rtol=1e-5)
    np.testing.assert_allclose(torch.cat([ada.mean_norm, ada.std_norm]), GOLDEN["adaface_batch_mean_std"], rtol=1e-5)


FORMULAS = {
    "arcface": lambda cosine, norm: (cosine.acos() + 0.5).cos(),
    "cosface": lambda cosine, norm: cosine - 0.4,
    "sphereface": lambda cosine, norm: (1.7 * cosine.acos()).cos(),
    "combined": lambda cosine, norm: (cosine.acos() + 0.5).cos(),
    "magface": lambda cosine, norm: (cosine.acos() + 0.45 + 0.35 / 100 * (norm.clamp(10, 110) - 10)).cos(),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_values_and_gradients_equal_the_formula_in_float64(kind):
    generator = torch.Generator().manual_seed(0)
    cosine = torch.rand(32, 5, generator=generator, dtype=torch.float64).mul_(1.96).sub_(0.98)
    labels, norms = torch.arange(32) % 5, torch.rand(32, generator=generator, dtype=torch.float64) * 100 + 5
    upstream = torch.randn(32, 5, generator=generator, dtype=torch.float64)
    gradients = []
    for ours in (True, False):
        leaf, norm_leaf = cosine.clone().requires_grad_(), norms.clone().requires_grad_()
        if ours:
            logits, _ = make_margin(kind)(leaf, labels, norm_leaf)
        else:
            rows = torch.arange(32)
            logits = 64 * leaf
            logits = logits.index_put((rows, labels), 64 * FORMULAS[kind](leaf[rows, labels], norm_leaf))
        (logits * upstream).sum().backward()
        gradients.append((logits.detach(), leaf.grad, norm_leaf.grad))
    for ours, formula in zip(*gradients, strict=True):
        if formula is not None:
            torch.testing.assert_close(
                torch.zeros_like(formula) if ours is None else ours, formula, rtol=1e-9, atol=1e-9
            )


def curricularface(cosine, norms, labels, t):
    """Equations 2, 8 and 9 of arXiv 2004.00288."""
    target = (cosine[torch.arange(len(labels)), labels].acos() + 0.5).cos()
    return torch.where(cosine > target[:, None], cosine * (t + cosine), cosine), target


def adaface(cosine, norms, labels, t):
    """Equations 13 and 15 of arXiv 2204.00964, with norms of mean 20 and standard deviation 100."""
    quality = (0.333 * (norms.detach() - 20) / (100 + 1e-3)).clamp(-1, 1)
    angle = cosine[torch.arange(len(labels)), labels].acos() - 0.4 * quality
    return cosine, angle.cos() - (0.4 + 0.4 * quality)


def uniface(cosine, norms, labels, t):
    """Equation 9 of UniFace (ICCV 2023), with threshold log(10 * 5)."""
    bias = math.log(50) / 64
    return cosine - bias, cosine[torch.arange(len(labels)), labels] - 0.4 - bias


@pytest.mark.parametrize("formula", [curricularface, adaface, uniface])
def test_gradients_of_the_adaptive_margins_equal_the_formula_in_float64(formula):
    generator = torch.Generator().manual_seed(1)
    cosine = torch.rand(64, 5, generator=generator, dtype=torch.float64).mul_(1.7).sub_(0.85)
    labels, norms = torch.arange(64) % 5, torch.rand(64, generator=generator, dtype=torch.float64) * 60 + 5
    upstream = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    parameters = {"num_identities": 5} if formula is uniface else {}
    margin = make_margin(formula.__name__, **parameters).double().eval()  # statistics stay as they are
    if formula is curricularface:
        margin.t.fill_(0.3)
    ours, theirs = cosine.clone().requires_grad_(), cosine.clone().requires_grad_()
    logits, _ = margin(ours, labels, norms)
    others, target = formula(theirs, norms, labels, 0.3)
    expected = 64 * others.index_put((torch.arange(64), labels), target)
    for values in (logits, expected):
        (values * upstream).sum().backward()
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", MARGINS)
def test_finite_at_cosine_one(kind):
    cosine = torch.tensor([[1.0, -1.0, 0.3], [-1.0, 1.0, 0.3]], requires_grad=True)
    norms = torch.tensor([15.0, 25.0], requires_grad=True)
    logits, _ = make_margin(kind).train()(cosine, torch.tensor([0, 0]), norms)
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert torch.isfinite(cosine.grad).all()
    assert norms.grad is None or torch.isfinite(norms.grad).all()


@pytest.mark.parametrize("kind", MARGINS)
def test_the_cosines_are_not_modified(kind):
    cosine = golden_cosine()
    make_margin(kind).train()(cosine, LABELS, NORMS)
    np.testing.assert_array_equal(cosine, GOLDEN["cosine"])


@pytest.mark.parametrize("kind", ["arcface", "cosface", "combined"])
def test_margin_zero_is_the_scaled_cosine(kind):
    logits, regularizer = make_margin(kind, margin=0.0, scale=32.0)(golden_cosine(), LABELS)
    torch.testing.assert_close(logits, 32 * golden_cosine())
    assert regularizer is None


def test_uniface_is_one_threshold_for_all_pairs():
    margin = make_margin("uniface", scale=64.0, margin=0.4, num_identities=40)
    logits, _ = margin(golden_cosine(), LABELS)
    expected = 64 * golden_cosine() - math.log(400)
    expected[torch.arange(16), LABELS] -= 64 * 0.4
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("arcfase", {}, r"margin\.kind=arcfase is unknown; choose from arcface"),
        ("cosface", {"h": 1.0}, r"cosface does not take h; it takes scale, margin"),
    ],
)
def test_unknown_names_are_refused(kind, parameters, message):
    with pytest.raises(InputError, match=message):
        make_margin(kind, **parameters)


@pytest.mark.parametrize("kind", ["magface", "adaface"])
def test_missing_norms_are_named(kind):
    with pytest.raises(ValueError, match=r"needs feature_norms of shape \(16,\)"):
        make_margin(kind)(golden_cosine(), LABELS)


@pytest.mark.parametrize("kind", ["arcface", "sphereface", "magface", "combined"])
def test_monotone_only_continues_beyond_pi_and_never_turns(kind):
    cosine = torch.linspace(-0.9999, 0.9999, 2001, dtype=torch.float64).unsqueeze(1).requires_grad_()
    labels, norms = torch.zeros(2001, dtype=torch.long), torch.full((2001,), 110.0, dtype=torch.float64)
    logits, _ = make_margin(kind, monotone=True)(cosine, labels, norms)
    plain, _ = make_margin(kind)(cosine, labels, norms)
    logits.sum().backward()
    assert (cosine.grad > 0).all()  # else training is drawn to cosine -1, see CombinedMargin
    assert (logits.diff(dim=0) > 0).all()
    turn = int(plain.argmin())
    torch.testing.assert_close(logits[turn + 1 :], plain[turn + 1 :])
    assert (logits[:turn] < plain[:turn]).all()
