"""Sections of an audit card: their fields, with units. ``evaluate/audit/sections.py`` computes them.

Cosines are in [-1, 1], shares are fractions. An undefined value is null.
"""

from math import nan
from typing import Literal

from pydantic import Field

from bench.runs.card_parts.given import GivenPart


class Histogram(GivenPart):
    """Counts in bins of equal width between ``low`` and ``high``."""

    low: float
    high: float
    counts: list[int]


class Distribution(GivenPart):
    """Mean, standard deviation, quantiles and histogram of some values; without values, ``num`` alone."""

    num: int = Field(description="number of values; without any, the numbers below are NaN and not in the JSON")
    mean: float = nan
    std: float = nan
    min: float = nan
    p1: float = nan
    p5: float = nan
    p25: float = nan
    p50: float = nan
    p75: float = nan
    p95: float = nan
    p99: float = nan
    max: float = nan
    histogram: Histogram | None = None


class MirrorAxisPart(GivenPart):
    """The symmetry axis of the mean face; see ``bench.faces.alignment.mirror_axis.MirrorAxis``."""

    pixels_left: float = Field(description="from the image centre to the axis; negative if the axis is to the right")
    symmetry: float = Field(description="correlation of the mean face with its mirror image")
    num_faces: int = Field(description="faces in the mean")


class ImagesSection(GivenPart):
    """Which images decode, their sizes, their number per identity, and their look."""

    num_broken: int = Field(description="files that do not decode")
    broken: list[str] = Field(description="the first of these files, and what is wrong with each")
    other_sizes: dict[str, int] = Field(description="size such as 96 x 112 -> number of images")
    mirror_axis: MirrorAxisPart | None = Field(None, description="null for too few faces")
    per_identity: Distribution = Field(description="images per identity")
    num_identities_of_one_image: int
    num_identities_without_image: int
    brightness: Distribution = Field(description="mean of an image, 0 to 255")
    sharpness: Distribution = Field(description="variance of the Laplacian")
    red_minus_blue: Distribution = Field(description="difference of the means of two channels, -255 to 255")


class ExactDuplicates(GivenPart):
    """Images with the pixels of an earlier image."""

    num_images: int
    num_images_across_identities: int = Field(description="of these, images with another identity than the earlier one")


class NearDuplicates(GivenPart):
    """Pairs of images with almost equal perceptual hashes."""

    max_bits: int = Field(description="largest number of differing bits, of 64")
    num_pairs: int
    num_pairs_across_identities: int
    num_images: int = Field(description="images in at least one pair")
    is_complete: bool = Field(description="false if the search stopped at its largest number of pairs")


class DuplicatePair(GivenPart):
    """Two near duplicates."""

    first: str
    second: str
    bits: int


class DuplicatesSection(GivenPart):
    """Exact and near duplicates."""

    exact: ExactDuplicates
    near: NearDuplicates
    across_identities: list[DuplicatePair] = Field(description="nearest pairs of images of two identities")


class UniqueIdentities(GivenPart):
    """Number of unique identities by both rules of ``bench.vectors.separation.separated``."""

    kept: int = Field(description="compared with earlier identities that were kept")
    earlier: int = Field(description="compared with all earlier identities")


class IdentityPair(GivenPart):
    """Two identities and the cosine of their centres."""

    first: str
    second: str
    cosine: float


class SeparationSection(GivenPart):
    """How far apart the centres of the identities are."""

    num_identities: int
    unique: dict[str, UniqueIdentities] = Field(description="by threshold of the cosine")
    curve: dict[str, list[int]] = Field(
        description="num_identities: numbers of first identities; RULE_THRESHOLD: how many of them are unique"
    )
    nearest_cosine: Distribution = Field(description="cosine of each identity to the nearest other one")
    nearest_pairs: list[IdentityPair]


class ImageCosine(GivenPart):
    """An image and its cosine to its identity."""

    image: str
    cosine: float


class ConsistencySection(GivenPart):
    """Cosines of images to their own identity."""

    to_center: Distribution
    to_others: Distribution = Field(description="to the mean of the identity's other images")
    share_below: dict[str, float | None] = Field(description="share of images by threshold of to_others")
    lowest: list[ImageCosine]


class PairMomentsPart(GivenPart):
    """Cosines of all pairs of one kind."""

    num_pairs: int
    mean: float | None
    std: float | None
    histogram: Histogram


class ImpostorPairs(PairMomentsPart):
    """Cosines of all pairs of images of two identities."""

    histogram_is_of_all_pairs: bool = Field(description="false if it is the histogram of a sample")


class PairsSection(GivenPart):
    """All genuine against all impostor pairs of images."""

    fisher_ratio: float | None = Field(description="squared difference of the means / sum of the variances")
    d_prime: float | None = Field(description="difference of the means / root of the mean variance")
    genuine: PairMomentsPart
    impostor: ImpostorPairs


class ByChannelOrder(GivenPart):
    """One number for the images as stored, and for the same with red and blue exchanged."""

    as_stored: float
    exchanged: float


class ColourOrder(GivenPart):
    """Whether the channels are stored in the order RGB or BGR, decided on a sample by the higher Fisher ratio."""

    num_images: int = Field(description="size of the sample")
    fisher_ratio: ByChannelOrder
    consistency: ByChannelOrder = Field(description="mean cosine of images to their identity's other images")
    impostor_mean: ByChannelOrder = Field(description="mean cosine of impostor pairs")
    order: Literal["RGB", "BGR"]


class LeakedIdentity(GivenPart):
    """An identity that is likely in the reference too."""

    identity: str
    reference_identity: str
    cosine: float = Field(description="of the two centres")
    num_images: int
    num_images_near: int = Field(
        description="images that are themselves nearest to that identity and above the threshold"
    )


class LeakedImage(GivenPart):
    """An image and the identity of the reference nearest to it."""

    image: str
    reference_identity: str
    cosine: float


class LeakageSection(GivenPart):
    """Cosines of images and identities to the identities of one reference, and the identities likely in both."""

    reference: str = Field(description="name of the reference")
    num_images: int = Field(description="of the reference")
    num_identities: int = Field(description="of the reference")
    num_images_with_same_pixels: int
    image_cosine: Distribution = Field(description="of each image to the nearest identity of the reference")
    share_of_images_above: dict[str, float] = Field(description="by threshold of the cosine")
    reference_own_nearest: Distribution = Field(description="of each identity of the reference to its nearest other")
    share_of_images_above_reference_p95: float | None = Field(
        description="share of images nearer to the reference than 95 % of its own identities are to each other"
    )
    identity_cosine: Distribution = Field(description="of each identity's centre to the nearest of the reference")
    identity_threshold: float = Field(description="cosine from which an identity is likely in both")
    num_identities_above: int
    identities: list[LeakedIdentity] = Field(description="the nearest identities above the threshold")
    images: list[LeakedImage] = Field(description="the nearest images")
