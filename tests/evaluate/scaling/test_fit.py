"""Fits of error against size: known laws are found again, agree with SciPy, and doubtful points are called so."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from bench.errors import InputError
from evaluate.scaling.fit import Sizes, compare_forms

IDENTITIES = np.array([100, 300, 1000, 3000, 10_000, 30_000], dtype=float)


def noisy(errors, std=0.02, seed=0, num=200):
    return errors * np.exp(np.random.default_rng(seed).normal(0, std, (num, len(errors))))


def fits_of(identities, errors, images=None, **noise):
    images = np.full(len(identities), 10.0) if images is None else images
    comparison = compare_forms(Sizes(identities, images), errors, noisy(errors, **noise))
    return comparison, {fit.form: fit for fit in comparison.fits}


def test_a_law_with_a_floor_is_found():
    center = np.exp(np.mean(np.log(IDENTITIES)))
    errors = 0.05 + 0.1 * (IDENTITIES / center) ** -0.6
    comparison, fits = fits_of(IDENTITIES, errors)
    parameters = {name: figure.value for name, figure in fits["floor"].parameters.items()}
    assert parameters == pytest.approx({"a": 0.05, "b": 0.1, "c": 0.6}, rel=0.06)
    assert fits["floor"].rms < 0.003
    for name, figure in fits["floor"].parameters.items():
        assert figure.low < parameters[name] < figure.high
    assert comparison.floor_share > 0.95
    assert comparison.verdict == (
        "The form with a floor is the better one: it predicts left-out sizes better in "
        f"{comparison.floor_share:.0%} of the draws. The floor a is apart from 0."
    )


def test_a_log_linear_law_is_found():
    errors = 0.3 - 0.05 * np.log10(IDENTITIES / 100)
    comparison, fits = fits_of(IDENTITIES, errors)
    fit = fits["log-linear"]
    assert fit.parameters["q"].value == pytest.approx(0.05, rel=0.02)
    assert fit.tenfold_gain.value == pytest.approx(0.05, rel=0.02)
    assert fit.tenfold_gain.low < 0.05 < fit.tenfold_gain.high
    assert fit.predict(np.array([1000.0]), np.array([10.0]))[0] == pytest.approx(0.25, rel=0.01)
    assert comparison.floor_share < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_least_squares_agree_with_scipy(seed):
    """SciPy's curve_fit on the log error finds no smaller sum of squares than the grid, up to the grid's steps."""
    center = np.exp(np.mean(np.log(IDENTITIES)))
    errors = noisy(0.03 + 0.08 * (IDENTITIES / center) ** -0.4, seed=seed, num=1)[0]
    _, fits = fits_of(IDENTITIES, errors)

    def floor(n, a, b, c):
        return np.log(a + b * (n / center) ** -c)

    def linear(n, p, q):
        return np.log(np.maximum(p - q * np.log10(n / center), 1e-9))

    for form, law, start in (("floor", floor, (0.02, 0.05, 0.3)), ("log-linear", linear, (0.1, 0.02))):
        best, _ = curve_fit(law, IDENTITIES, np.log(errors), start, bounds=(1e-9, 5), max_nfev=20_000)
        rms = np.sqrt(np.mean((law(IDENTITIES, *best) - np.log(errors)) ** 2))
        assert fits[form].rms <= rms * 1.02 + 1e-4
        assert fits[form].tenfold_gain.value == pytest.approx(
            float(np.exp(law(3e4, *best)) - np.exp(law(3e5, *best))), abs=0.003
        )


def test_images_per_identity_have_their_own_exponent():
    identities, images = (values.ravel() for values in np.meshgrid([70.0, 140, 280, 560], [4.0, 16]))
    errors = 0.02 + 0.2 * (identities / 198) ** -0.3 * (images / 8) ** -0.8
    _, fits = fits_of(identities, errors, images, std=0.01, num=10)
    parameters = fits["floor"].parameters
    assert parameters["c"].value == pytest.approx(0.3, abs=0.06)
    assert parameters["d"].value == pytest.approx(0.8, abs=0.12)
    assert "r" in fits["log-linear"].parameters


def test_noisy_points_cannot_tell_the_forms_apart():
    errors = noisy(0.08 * (IDENTITIES / 1000) ** -0.06, std=0.02, seed=3, num=1)[0]
    comparison, fits = fits_of(IDENTITIES, errors, std=0.03)
    assert "The points cannot tell the two forms apart" in comparison.verdict
    assert "The floor a cannot be told from 0." in comparison.verdict
    assert fits["floor"].parameters["a"].low < 0.001


def test_few_points():
    comparison, fits = fits_of(IDENTITIES[:3], np.array([0.3, 0.2, 0.15]))
    assert list(fits) == ["log-linear"]
    assert comparison.verdict == "3 sizes are too few to ask for a floor: only the log-linear form was fitted."
    comparison, fits = fits_of(IDENTITIES[:4], np.array([0.3, 0.2, 0.15, 0.14]))
    assert set(fits) == {"log-linear", "floor"}
    assert comparison.verdict.startswith("4 sizes are too few to leave one out")
    with pytest.raises(InputError, match="2 sizes are too few for a fit; give 3"):
        fits_of(IDENTITIES[:2], np.array([0.3, 0.2]))
    with pytest.raises(InputError, match="3 sizes are too few for a fit; give 3 with two numbers of identities"):
        fits_of(np.full(3, 10.0), np.array([0.3, 0.2, 0.1]), np.array([1.0, 2, 3]))


def test_equal_draws_give_equal_fits():
    errors = 0.3 - 0.05 * np.log10(IDENTITIES / 100)
    first, second = (fits_of(IDENTITIES, errors)[0] for _ in range(2))
    assert [fit.parameters for fit in first.fits] == [fit.parameters for fit in second.fits]


def test_errors_of_zero_do_not_break_the_fit():
    comparison, fits = fits_of(IDENTITIES[:4], np.array([0.1, 0.01, 0.0, 0.0]))
    assert np.isfinite(fits["log-linear"].tenfold_gain.value)
    assert comparison.verdict
