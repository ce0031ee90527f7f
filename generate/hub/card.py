"""The card of a generated dataset as README.md in the Hub's format: what it holds, how it was made, from which weights.

In: ``dataset.json``. Out: Markdown with the Hub's metadata in front; the grid lies beside it.
"""

from typing import Any

from bench.files import flatten
from bench.markdown import markdown_table
from bench.runs.cards import DatasetCard

README_NAME = "README.md"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGER = "1M<n<10M"
_WORDS = {
    "candidates": "identity vectors that were optimised and drawn",
    "candidates_too_near": "of these dropped: their images' features were too near an earlier identity's",
    "centers_accepted": "identity vectors that met quality and identity within the cap of steps",
    "center_steps_mean": "optimiser steps per identity vector, mean",
    "center_identity_cosine_mean": "cosine of an identity's image to its vector, mean",
    "nearest_identity.cosine_mean": "cosine of an identity to its nearest other (features of the images), mean",
    "nearest_identity.cosine_max": "the same, highest",
    "nearest_identity.num_identities": "identities that these two were measured on",
    "images_per_identity.min": "images per identity, fewest",
    "images_per_identity.mean": "images per identity, mean",
    "images_per_identity.max": "images per identity, most",
    "bytes_per_image.faces": "bytes per image of faces.lmdb",
    "bytes_per_image.most": "bytes per image at most, while the shards were still there",
    "turned_images": "images turned by the mean head after they were drawn",
    "attribute_images": "images with a target yaw",
    "attribute_images_accepted": "of these met all targets within the cap of steps",
    "attribute_steps_mean": "optimiser steps per such image, mean",
    "attribute_yaw_miss_mean": "degrees by which such an image missed its yaw, mean",
    "identity_cosine_mean": "consistency: cosine of an image to its identity vector, mean",
    "consistent_share": "consistency: share of images with a cosine of at least 0.7",
    "quality_mean": "MagFace norm, mean",
    "bf16_deviation.max_pixel": "bf16 against float32: largest difference of a pixel, of 255",
    "bf16_deviation.mean_pixel": "bf16 against float32: mean difference, of 255",
    "bf16_deviation.identity_cosine_min": "bf16 against float32: lowest cosine between the two images' features",
    "bf16_deviation.num_images": "images that these three were measured on",
}
"""What the statistics of the engine mean; others are printed under their own name."""


def render_readme(card: DatasetCard) -> str:
    """README.md of a dataset that lies in its card's folder."""
    statistics = flatten({name: value for name, value in card.statistics.items() if name != "weights"})
    weights = card.statistics.get("weights", {})
    per_identity = card.num_images / card.num_identities
    parts = [
        _metadata(card, weights),
        f"# {card.name}",
        f"{card.num_images:,} faces of {card.num_identities:,} people who do not exist ({per_identity:.1f} each), "
        "112 x 112 pixels, aligned to the ArcFace template.",
        "![Faces, one identity per row](grid.png)",
        "## Files",
        "- `faces.lmdb`: keys `0`, `1`, ...; values msgpack `[image file, identity]`; `__len__`, `__keys__`, "
        f"`__classnum__`. SHA-256 `{card.content_sha256}`\n- `faces.parquet`: one row per face, in the order of the "
        "keys: how it was made, and what became of it\n- `dataset.json`: this page for machines",
        "## Settings",
        markdown_table(("setting", "value"), flatten(card.inputs).items()),
        "## Figures",
        markdown_table(("figure", "value"), ((_WORDS.get(name, name), value) for name, value in statistics.items())),
        "## Weights",
        _weights(weights),
        "## How it was made",
        f"`{card.command}` at commit {card.git.commit or 'unknown'}{' with changes' if card.git.dirty else ''}, "
        f"{card.created_utc}, on {card.environment.gpu or card.environment.cpu}: {card.cost.seconds / 3600:.2f} hours, "
        f"{card.cost.images_per_second or 0:.4g} images/s.",
        "## Use",
        "The faces were made by networks that learned from photos of real people: some may resemble them. Check "
        "leakage against the training data named above before publishing or relying on the set, and expect networks "
        "trained on it to treat groups of people less evenly than real data would. Not for surveillance of people who "
        "have not agreed."
        if weights
        else "The faces are rendered from a procedural head; no photo of a person was used.",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(card: DatasetCard, weights: dict[str, Any]) -> str:
    size = next((name for limit, name in _SIZES if card.num_images < limit), _LARGER)
    lines = [
        "---",
        f"pretty_name: {card.name}",
        f"license: {'other' if weights else 'mit'}",
        *(["license_name: see-weights"] if weights else []),
        "task_categories: [image-classification]",
        "tags: [face-recognition, synthetic]",
        f"size_categories: ['{size}']",
        "---",
    ]
    return "\n".join(lines)


def _weights(weights: dict[str, dict[str, Any]]) -> str:
    if not weights:
        return "None: nothing was learned."
    columns = ("file", "role", "trained on", "licence", "source", "SHA-256")
    rows = (
        (
            name, entry["role"], entry["trained_on"], entry["licence"], entry["source"] or "placed by hand",
            f"`{entry['sha256'][:16]}`",
        )
        for name, entry in weights.items()
    )  # fmt: skip
    return markdown_table(columns, rows)
