"""Provenance of every weight file of a generated dataset: role, SHA-256, training data, licence, source.

A dataset inherits from its weights the people they were trained on and the terms of use. Training data and licences of
released files are those that their publishers state. Nothing is known of a file that is neither released nor made by
this suite, and the dataset's card says so. A network that ``generate appearance`` made from another one inherits that
one's origin, in a card that is written here.
"""

from pathlib import Path
from typing import Any

from bench.config.generator import Vec2FaceGenerator, is_shipped, weight_path
from bench.files import read_json_object
from bench.machine.digests import remembered_sha256
from bench.machine.facts import Cost
from bench.runs.card_parts.references import WeightProvenance
from bench.runs.hub import fetched_from
from generate.hub.ship import Origin, card_path, write_weight_card

# As generate.training.prepared writes them, which this folder may not import
_PREPARED_NAME = "prepared.json"
_PREPARED_ARRAYS = ("centers.npy", "deviations.npy", "seen_often.npy", "differences.npy")
_UNKNOWN = ("not stated: not a released file", "not stated")
_GLINT = "Glint360K: real photos of some 360,000 people"
_RESEARCH = "the field's terms: non-commercial research"
_MIT = "MIT (model card on the Hub); its training photos: non-commercial research"
_RELEASED = {
    "vec2face_generator.pth": (
        "50,000 identities of WebFace4M: 1,022,444 real photos",
        _MIT,
    ),
    "main_model.pth": ("WebFace4M: real photos; which of its identities is not stated", _MIT),
    "pose_model.pth": ("WebFace4M with landmarks: 4 million real photos, as the trainer's default says", _MIT),
    "arcface-r100-glint360k.pth": (_GLINT, _RESEARCH),
    "magface-r100-glint360k.pth": (_GLINT, _RESEARCH),
    "6DRepNet_300W_LP_AFLW2000.pth": ("300W-LP and AFLW2000: real photos, rotated synthetically", _RESEARCH),
    "mobilefacenet_y1.onnx": ("MS1M: real photos of some 85,000 people", _RESEARCH),
    "center_feature_examples.npy": ("identity vectors of HSFace10K; their sampling is not stated", _RESEARCH),
}
"""Released file -> training data and licence, as in README and model card of BooBooWu/Vec2Face and in our README."""


def weight_provenance(
    settings: Vec2FaceGenerator, digests: dict[str, str], weights: Path
) -> dict[str, WeightProvenance]:
    """Role and origin of every weight file of a generator's settings.

    Args:
        settings: Section ``generator`` of the benchmark.
        digests: File name as in the settings -> SHA-256.
        weights: Folder of the weights that do not come with the suite.

    Returns:
        File name -> its provenance, with all roles of the file. The source is None for a file that was put there by
        hand.
    """
    files = {
        "generator": settings.generator_weights,
        "identity estimator": settings.identity_weights,
        "quality estimator": settings.quality_weights,
        "yaw estimator": settings.pose_weights,
        "second judge": settings.quota.judge_weights if settings.quota else None,
        "identity centres": settings.centers,
        "directions of noise": settings.perturbation.directions,
        "differences within a person": settings.perturbation.differences,
        "people trained on": settings.filters.known_centers,
        "pose model": settings.pose.weights if settings.pose else None,
        "landmarks": settings.pose.landmarks if settings.pose else None,
    }
    described = {}
    for name, digest in digests.items():
        path = weight_path(name, weights)
        trained_on, licence, source = _origin(path, digest)
        described[name] = WeightProvenance(
            role=", ".join(role for role, file in files.items() if file == name),
            sha256=digest,
            trained_on=trained_on,
            licence=licence,
            source="generate/assets" if is_shipped(name) else source,
        )
    return described


def write_appearance_card(
    path: Path, network: Path, faces: Path, *, settings: dict[str, Any], figures: dict[str, Any], cost: Cost
) -> None:
    """Write the card of a network of ``generate appearance``, with the origin of the network that it was made from.

    Args:
        path: The new network.
        network: The network that it was made from.
        faces: The faces whose principal components were appended.
        settings: Settings of the components.
        figures: What was measured.
        cost: Time and memory that it took.
    """
    digest = remembered_sha256(network)
    trained_on, licence, _ = _origin(network, digest)
    # the faces first: what starts with "rendered heads" counts as made without photographs
    origin = Origin(
        f"principal components of {faces.name}, behind the features of {network.name}: {trained_on}",
        f"{licence}; the terms of {faces.name}",
        seed=None,
        command="generate appearance",
    )
    settings = {"networks": {"identity": {"name": network.name, "sha256": digest}}} | settings
    write_weight_card(path, role="identity network", origin=origin, settings=settings, figures=figures, cost=cost)


def _origin(path: Path, digest: str) -> tuple[str, str, str | None]:
    """Training data, licence and source of a file.

    From the card beside the file; else, for an array of a training set, from the description of that set; else from the
    table of released files. A card counts only for the bytes that it was written for.
    """
    if card_path(path).exists():
        card = read_json_object(card_path(path))
        if card.get("sha256") == digest:
            trained_on, licence = (str(card.get(field, "not stated")) for field in ("trained_on", "licence"))
            return trained_on, licence, f"python -m {card.get('command', 'generate ship')}"
    if path.name in _PREPARED_ARRAYS and path.with_name(_PREPARED_NAME).exists():
        prepared = read_json_object(path.with_name(_PREPARED_NAME))
        counts = [prepared.get(field, "unknown") for field in ("num_images", "num_identities", "source")]
        faces = "{} faces of {} identities of {}".format(*counts)
        if network := prepared.get("identity_weights"):
            faces += f", by features of {network}"
        return faces, "the terms of these faces", "python -m generate prepare"
    trained_on, licence = _RELEASED.get(path.name, _UNKNOWN)
    return trained_on, licence, fetched_from(path, digest)
