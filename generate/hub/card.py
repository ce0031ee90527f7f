"""Render the card of a generated dataset as README.md in the Hub's format.

In: ``dataset.json``. Out: Markdown with the Hub's metadata as YAML in front. The page shows ``grid.png``, which lies
beside it.
"""

from bench.files import flatten
from bench.markdown import markdown_table
from bench.runs.card_parts.references import WeightProvenance
from bench.runs.cards import DatasetCard
from generate.hub.datasheet import datasheet, is_learned_from_photographs, is_rendered

README_NAME = "README.md"
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_LARGEST_SIZE = "10M<n<100M"
_LABELS = {
    "candidates": "identity vectors that were optimised and drawn",
    "candidates_too_near": "identity vectors dropped: features of their images were too near an earlier identity's",
    "centers_accepted": "identity vectors that met the targets of quality and identity within the step limit",
    "center_steps_mean": "optimiser steps per identity vector, mean",
    "center_identity_cosine_mean": "cosine of an identity's image to its vector, mean",
    "nearest_identity.cosine_mean": "cosine of an identity to its nearest other (features of the images), mean",
    "nearest_identity.cosine_max": "cosine of an identity to its nearest other (features of the images), highest",
    "nearest_identity.num_identities": "identities that the cosines to the nearest other were measured on",
    "identities_tried": "identities whose images were drawn",
    "identities_short": "identities replaced since too few of their images passed",
    "images_per_identity.min": "images per identity, fewest",
    "images_per_identity.mean": "images per identity, mean",
    "images_per_identity.max": "images per identity, most",
    "bytes_per_image.faces": "bytes per image of faces.lmdb",
    "bytes_per_image.most": "bytes per image on disk during generation, highest",
    "turned_images": "images turned on the mean 3D head after they were drawn",
    "attribute_images": "images with a target yaw",
    "attribute_images_accepted": "images with a target yaw that met all targets within the step limit",
    "attribute_steps_mean": "optimiser steps per image with a target yaw, mean",
    "attribute_yaw_miss_mean": "distance of an image from its target yaw in degrees, mean",
    "landmark_images": "images drawn by a landmark picture (Vec2Face+)",
    "landmark_images_accepted": "images drawn by a landmark picture that met all targets",
    "landmark_yaw_miss_mean": "distance of such an image from the yaw of its picture in degrees, mean",
    "landmark_identity_cosine_mean": "cosine of such an image to its identity vector, mean",
    "identity_cosine_mean": "consistency: cosine of an image to its identity vector, mean",
    "consistent_share": "consistency: share of images with a cosine of at least 0.7",
    "quality_mean": "MagFace norm, mean",
    "bf16_deviation.max_pixel": "bf16 against float32: largest difference of a pixel, of 255",
    "bf16_deviation.mean_pixel": "bf16 against float32: mean difference of a pixel, of 255",
    "bf16_deviation.identity_cosine_min": "bf16 against float32: lowest cosine between the features of the two images",
    "bf16_deviation.num_images": "bf16 against float32: images that were compared",
}
"""Statistic of the generator -> its label on the page. Other statistics are printed under their own names."""
_USE_LEARNED = (
    "The faces were made by networks that learned from photos of real people, and some may resemble them. Before you "
    "publish or rely on the dataset, check it for leakage of the training data named above. Expect networks trained on "
    "it to treat groups of people less evenly than real data would. Do not use it for surveillance of people who have "
    "not agreed."
)
_USE_OF_RENDERED_NETWORKS = (
    "The faces were made by networks that learned from rendered heads alone; no photo of a person was used."
)
_USE_RENDERED = "The faces are rendered from a procedural head; no photo of a person was used."


def render_readme(card: DatasetCard) -> str:
    """README.md of a dataset whose files lie in the folder of its card.

    The Hub reads the metadata at its top; the rest is the page for people.
    """
    from huggingface_hub import DatasetCardData  # takes a fifth of a second, which --help must not wait for

    is_free = is_rendered(card)
    metadata = DatasetCardData(
        pretty_name=card.name,
        license="mit" if is_free else "other",
        license_name=None if is_free else "see-weights" if card.weights else "see-datasheet",
        task_categories=["image-classification"],
        tags=["face-recognition", "synthetic"],
        size_categories=[_size_category(card.num_images)],
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n{_page(card)}\n"


def _size_category(num_images: int) -> str:
    return next((category for limit, category in _SIZES if num_images < limit), _LARGEST_SIZE)


def _page(card: DatasetCard) -> str:
    statistics = flatten(card.statistics.model_dump(exclude={"weights"}))
    figures = [(_LABELS.get(name, name), value) for name, value in statistics.items()]
    per_identity = card.num_images / card.num_identities
    parts = [
        f"# {card.name}",
        f"{card.num_images:,} faces of {card.num_identities:,} invented people ({per_identity:.1f} each), "
        "112 x 112 pixels, aligned to the ArcFace template.",
        "![Faces, one identity per row](grid.png)",
        "## Files",
        "- `faces.lmdb`: keys `0`, `1`, ...; values msgpack `[image file, identity]`; `__len__`, `__keys__`, "
        f"`__classnum__`. SHA-256 `{card.content_sha256}`\n- `faces.parquet`: one row per face, in the order of the "
        "keys: how it was made, and what was measured on it\n- `dataset.json`: the content of this page as JSON\n- "
        "`croissant.json`: the description of the dataset in Croissant 1.1",
        "## Settings",
        markdown_table(("setting", "value"), flatten(card.inputs).items()),
        "## Figures",
        markdown_table(("figure", "value"), figures),
        "## Weights",
        _weights_table(card.weights),
        "## How it was made",
        _production(card),
        "## Use",
        _use(card),
        "## Datasheet",
        markdown_table(("question", "answer"), datasheet(card)),
    ]
    return "\n\n".join(parts)


def _use(card: DatasetCard) -> str:
    if is_rendered(card):
        return _USE_RENDERED
    return _USE_LEARNED if is_learned_from_photographs(card) else _USE_OF_RENDERED_NETWORKS


def _weights_table(weights: dict[str, WeightProvenance]) -> str:
    if not weights:
        return "The card names no trained network."
    rows = []
    for name, weight in weights.items():
        source, digest = weight.source or "placed by hand", f"`{weight.sha256[:16]}`"
        rows.append((name, weight.role, weight.trained_on, weight.licence, source, digest))
    return markdown_table(("file", "role", "trained on", "licence", "source", "SHA-256"), rows)


def _production(card: DatasetCard) -> str:
    """Command, commit, time, machine and speed, as one sentence."""
    commit = f"{card.git.commit or 'unknown'}{' with uncommitted changes' if card.git.dirty else ''}"
    speed = f"{card.cost.seconds / 3600:.2f} hours, {card.cost.images_per_second or 0:.4g} images/s"
    return (
        f"`{card.command}` at commit {commit}, {card.created_utc}, on {card.environment.gpu or card.environment.cpu}: "
        f"{speed}."
    )
