"""Searches of people in galleries: fields of a result card. ``evaluate/measure/identification`` computes them.

Terms follow ISO/IEC 19795-1. A search is mated if its person is enrolled in the gallery. FPIR is the share of non-mated
searches that return any candidate at or above the threshold. TPIR is the share of mated searches whose person is the
first candidate, at or above the threshold. All rates are fractions.
"""

from pydantic import Field

from bench.machine.facts import Section


class GallerySearch(Section):
    """All probes against one gallery."""

    num_enrolled: int = Field(description="entries of the gallery, with distractors")
    num_mated: int = Field(description="searches whose person is enrolled")
    num_non_mated: int = Field(description="searches whose person is not enrolled")
    rank: dict[str, float] = Field(description="rank -> share of mated searches whose mate has this rank or a better")
    tpir_at_fpir: dict[str, float | None] = Field(description="null where the non-mated searches cannot resolve FPIR")
    cmc: list[float] = Field([], description="share of mated searches found at rank 1, 2, 3, ...")
    curve: dict[str, list[float]] = Field({}, description="points of the open-set curve: fpir ascending, tpir")


class IdentificationResult(Section):
    """One test set of searches in one gallery or in several."""

    galleries: dict[str, GallerySearch]
    rank: dict[str, float] = Field(description="over the mated searches of all galleries")
    tpir_at_fpir: dict[str, float | None] = Field(description="mean over the galleries; null if one is")
    num_images: int
    sha256: str = Field(description="of the set as evaluated")
    copy_known_as: str | None = None
