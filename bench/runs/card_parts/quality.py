"""Sections of an audit card that describe quality and diversity. ``evaluate/audit/quality`` computes them.

Cosines are in [-1, 1], shares are fractions. An undefined value is null.
"""

from pydantic import Field

from bench.runs.card_parts.given import GivenPart


class DetailFigures(GivenPart):
    """How much detail the central 72 x 72 pixels of faces show."""

    num_images: int = Field(description="faces that were measured, evenly spread over the set")
    sharpness: float = Field(description="median variance of the Laplacian")
    octave_power: dict[str, float] = Field(
        description="cycles per pixel -> median variance of the grey level in that octave, squared grey levels"
    )


class PerceptualFigures(GivenPart):
    """Mean LPIPS of pairs of images, on AlexNet; null without a pair."""

    num_within: int = Field(description="pairs of one identity, one per identity at most")
    within: float | None = Field(description="mean distance of these")
    num_across: int = Field(description="pairs of two identities")
    across: float | None = Field(description="mean distance of these")


class DiversityFigures(GivenPart):
    """How diverse the embeddings of a set are, and its images."""

    vendi_images: float = Field(description="Vendi score of all images: number of effectively different ones")
    vendi_identities: float = Field(description="Vendi score of the centres of the identities")
    radius: float = Field(description="cosine distance below which two faces count as one person, for the two below")
    u_class: float = Field(description="share of identities with no earlier centre within the radius")
    c_intra: float = Field(description="share of images within the radius of the centre of their identity")
    lpips: PerceptualFigures | None = Field(None, description="where AlexNet's weights were given")
    eer: float | None = Field(None, description="equal error rate of all genuine against impostor pairs, by histograms")


class Distances(GivenPart):
    """Distances of a sample of one set from a sample of real faces."""

    frechet: float = Field(description="Fréchet distance of unit embeddings")
    kid: float = Field(description="kernel distance of embeddings of length sqrt(dimensions), mean over subsets")
    kid_std: float = Field(description="standard deviation over the subsets")
    precision: float
    recall: float
    density: float
    coverage: float
    d_intra: float | None = Field(None, description="share of real deviations that those of one identity cover")


class QualitySection(GivenPart):
    """A dataset against real faces, and one half of the real people against the other, with as many images."""

    reference: str = Field(description="name of the set of real faces")
    num_images: int = Field(description="images of each sample")
    num_neighbours: int = Field(description="k of precision, recall, density and coverage")
    ours: Distances
    real_halves: Distances = Field(description="the same between two halves of the real people")
    detail: DetailFigures = Field(description="of the real faces")
    diversity: DiversityFigures = Field(description="of the real faces")
    sharpness_ratio: float | None = Field(description="median sharpness of the dataset / of the real faces")
    octave_ratio: dict[str, float | None] = Field(description="the same for the power of each octave")
