"""Where every weight of a generated dataset comes from: role, SHA-256, training data, licence, source.

A dataset inherits what its weights were trained on: people in it, and terms of use. What is written here was stated
by the publishers; of a file that is not released nothing is known, and that is said.
"""

from pathlib import Path

from bench.config import Vec2FaceGenerator
from bench.files import read_json
from bench.hub import fetched_from

_UNKNOWN = ("not stated: not a released file", "not stated")
_GLINT = "Glint360K: real photos of some 360,000 people"
_RESEARCH = "the field's terms: non-commercial research"
_RELEASED = {
    "vec2face_generator.pth": (
        "50,000 identities of WebFace4M: 1,022,444 real photos",
        "MIT (model card on the Hub); its training photos: non-commercial research",
    ),
    "arcface-r100-glint360k.pth": (_GLINT, _RESEARCH),
    "magface-r100-glint360k.pth": (_GLINT, _RESEARCH),
    "6DRepNet_300W_LP_AFLW2000.pth": ("300W-LP and AFLW2000: real photos, rotated synthetically", _RESEARCH),
    "center_feature_examples.npy": ("identity vectors of HSFace10K; their sampling is not stated", _RESEARCH),
}
"""File name -> training data and licence. Sources: README and model card of BooBooWu/Vec2Face; README here."""


def weight_provenance(
    settings: Vec2FaceGenerator, digests: dict[str, str], weights: Path
) -> dict[str, dict[str, str | None]]:
    """Per weight file of the settings: its role and where it comes from.

    Args:
        settings: Section ``generator`` of the benchmark.
        digests: SHA-256 per file.
        weights: Folder in which they lie.

    Returns:
        File name -> role, sha256, trained_on, licence, source (None: placed by hand).
    """
    roles = {
        settings.generator_weights: "generator",
        settings.identity_weights: "identity estimator",
        settings.quality_weights: "quality estimator",
        settings.pose_weights: "yaw estimator",
        settings.centers: "identity centres",
        settings.perturbation.directions: "directions of noise",
    }
    described: dict[str, dict[str, str | None]] = {}
    for name, digest in digests.items():
        card = (weights / name).with_suffix(".json") if settings.shipped else None
        if card is not None and card.exists():
            shipped = read_json(card)
            described[name] = {"role": roles[name], "sha256": digest, "source": "generate/assets"} | {
                field: shipped[field] for field in ("trained_on", "licence")
            }
            continue
        trained_on, licence = _RELEASED.get(Path(name).name, _UNKNOWN)
        described[name] = {
            "role": roles[name],
            "sha256": digest,
            "trained_on": trained_on,
            "licence": licence,
            "source": fetched_from(weights / name, digest),
        }
    return described
