"""Face images -> how much detail they show: sharpness, and power by octave of spatial frequency.

Sharpness is the variance of the Laplacian of the grey central 72 x 72 pixels, which hold the face and little of hair
and background. Noise raises it too, so the power spectrum is measured as well: from octave to octave the power of faces
falls, and that of white noise grows four times. Legend: N images.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.faces.sharpness import CENTRAL_SIDE as SIDE
from bench.faces.sharpness import central_grey, sharpness

OCTAVES = ("1/64 to 1/32", "1/32 to 1/16", "1/16 to 1/8", "1/8 to 1/4", "above 1/4")
"""Bands of spatial frequency in cycles per pixel; the last reaches to the corner of the spectrum."""


@dataclass(frozen=True)
class Detail:
    """Detail of N images."""

    sharpness: NDArray[np.float64]
    """Variance of the Laplacian of each image, shape (N,)."""
    power: NDArray[np.float64]
    """Variance of the grey level that each octave holds, in squared grey levels of 0..255, shape (N, 5)."""


def measure_detail(images: Iterable[NDArray[np.uint8]]) -> Detail:
    """Sharpness and power by octave.

    Args:
        images: Aligned faces, uint8 RGB, each (112, 112, 3).
    """
    centres = [central_grey(image) for image in images]
    return Detail(
        np.array([sharpness(grey) for grey in centres]),
        np.array([octave_power(grey) for grey in centres]).reshape(len(centres), len(OCTAVES)),
    )


def evenly_spread(positions: NDArray[np.int64], num: int) -> Sequence[int]:
    """At most ``num`` of the positions, evenly spread over them."""
    picked = np.linspace(0, len(positions) - 1, min(num, len(positions))).astype(int)
    return positions[picked].tolist()


def octave_power(grey: NDArray[np.floating]) -> NDArray[np.float64]:
    """Variance of the grey level in each octave of ``OCTAVES``, shape (5,).

    A Hann window keeps the borders of the square out; its mean square is divided out, so that white noise of variance v
    has a total of v up to the lowest frequencies, which no octave holds.

    Args:
        grey: Grey levels, shape (72, 72).
    """
    hann = np.hanning(SIDE + 2)[1:-1]
    window = np.outer(hann, hann)
    windowed = (grey - (grey * window).sum() / window.sum()) * window
    power = np.abs(np.fft.fft2(windowed)) ** 2 / (windowed.size**2 * (window**2).mean())
    octave = _OCTAVE_OF.ravel()
    sums = np.bincount(octave[octave >= 0], weights=power.ravel()[octave >= 0], minlength=len(OCTAVES))
    return sums.astype(np.float64)


def _octave_of() -> NDArray[np.int64]:
    """Octave of each frequency of the spectrum, shape (72, 72); -1 below the lowest."""
    frequency = np.fft.fftfreq(SIDE)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    return np.digitize(radius, [1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4]) - 1


_OCTAVE_OF = _octave_of()
