"""Where every weight of a generated dataset comes from: role, SHA-256, training data, licence, source.

A dataset inherits what its weights were trained on: people in it, and terms of use. What is written here was stated
by the publishers; of a file that is not released nothing is known, and that is said.
"""

from pathlib import Path

from bench.config.generator import Vec2FaceGenerator, is_shipped, weight_path
from bench.files import read_json
from bench.runs.hub import fetched_from
from generate.training.prepare import PREPARED_NAME

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
    "mobilefacenet_y1.onnx": ("MS1M: real photos of some 85,000 people", _RESEARCH),
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
        settings.perturbation.differences: "differences within a person",
    }
    if settings.filters.known_centers is not None:
        roles.setdefault(settings.filters.known_centers, "people trained on")
    described: dict[str, dict[str, str | None]] = {}
    for name, digest in digests.items():
        path = weight_path(name, weights)
        trained_on, licence, source = _origin(path, digest)
        described[name] = {
            "role": roles[name],
            "sha256": digest,
            "trained_on": trained_on,
            "licence": licence,
            "source": "generate/assets" if is_shipped(name) else source,
        }
    return described


def _origin(path: Path, digest: str) -> tuple[str, str, str | None]:
    """Training data, licence and source of a file: by its card, by the training set beside it, or as released."""
    if (card := path.with_suffix(".json")).exists() and (made := read_json(card)).get("sha256") == digest:
        return made["trained_on"], made["licence"], "python -m generate ship"
    if (prepared := path.with_name(PREPARED_NAME)).exists():
        made = read_json(prepared)
        faces = f"{made['num_images']} faces of {made['num_identities']} identities of {made['source']}"
        return faces, "the terms of these faces", "python -m generate prepare"
    trained_on, licence = _RELEASED.get(path.name, _UNKNOWN)
    return trained_on, licence, fetched_from(path, digest)
