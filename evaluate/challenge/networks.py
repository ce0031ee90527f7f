"""Released recognition networks: the names of their files, what trained them, and the accuracies that authors print.

The printed accuracies are rows of reports/published.csv, found by dataset, source and recipe. A network of the recipe
``hsface_arcface`` is a row of that recipe without training; that of CASIA-WebFace is its real reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.config.released import RELEASED_RECIPES
from bench.errors import InputError
from bench.runs.card_parts.references import DatasetReference, RecipeReference
from evaluate.leaderboard.published import PublishedRow
from evaluate.leaderboard.write import PUBLISHED_PATH

SUFFIXES = (".pth", ".ckpt", ".safetensors", ".onnx")
_VEC2FACE, _VEC2FACE_PLUS, _CVLFACE = "HaiyuWu/Vec2Face README", "HaiyuWu/Vec2Face_plus README", "mk-minchul/CVLface"
_RECIPE = "hsface_arcface"


@dataclass(frozen=True)
class ReleasedNetwork:
    """What is known of one released network."""

    dataset: str
    """Name of its training set, as in published.csv."""
    source: str = ""
    """Words of the source in published.csv; empty where no source prints all its accuracies in a table there."""
    recipe: str = ""
    """Backbone and loss, as in published.csv; for sources that print several networks of one dataset."""
    num_identities: int | None = None
    num_images: int | None = None
    is_of_our_recipe: bool = False
    """Whether the authors trained it by the recipe that this suite calls hsface_arcface."""
    is_real: bool = False
    """Whether it was trained on photographs alone."""
    printed: dict[str, float] = field(default_factory=dict)
    """Accuracies in per cent that are printed elsewhere than in a row of published.csv."""

    @property
    def dataset_reference(self) -> DatasetReference:
        """The training set, for the result's card."""
        return DatasetReference(
            name=self.dataset,
            num_images=self.num_images,
            num_identities=self.num_identities,
            is_real=self.is_real or None,
        )

    @property
    def recipe_reference(self) -> RecipeReference | None:
        """The recipe, for the result's card; None for a recipe that this suite does not have."""
        return RecipeReference(name=_RECIPE, sha256=RELEASED_RECIPES[_RECIPE]) if self.is_of_our_recipe else None


def _hsface(thousands: int) -> ReleasedNetwork:
    size = 1000 * thousands
    return ReleasedNetwork(f"HSFace{thousands}K", _VEC2FACE, "", size, 50 * size, is_of_our_recipe=True)


def _vface(thousands: int, images_per_identity: int) -> ReleasedNetwork:
    size = 1000 * thousands
    return ReleasedNetwork(f"VFace{thousands}K", _VEC2FACE_PLUS, "", size, images_per_identity * size)


NETWORKS = {
    **{f"hsface{size}k": _hsface(size) for size in (10, 20, 100, 200, 300)},
    **{f"vface{size}k": _vface(size, images) for size, images in ((10, 50), (20, 50), (100, 40), (300, 40))},
    "casia-webface-r50": ReleasedNetwork(
        "CASIA-WebFace (real)", _VEC2FACE, "", 10_500, 490_000, is_of_our_recipe=True, is_real=True
    ),
    "casia-webface_hsface10k-r50": ReleasedNetwork(
        "CASIA-WebFace + HSFace10K", "HaiyuWu/vec2face.github.io", "", 20_500, 990_000, is_of_our_recipe=True
    ),
    "cvlface_adaface_ir101_webface4m": ReleasedNetwork("WebFace4M (real)", _CVLFACE, "IR101, AdaFace", is_real=True),
    "cvlface_adaface_ir101_webface12m": ReleasedNetwork("WebFace12M (real)", _CVLFACE, "IR101, AdaFace", is_real=True),
    "cvlface_adaface_vit_base_webface4m": ReleasedNetwork("WebFace4M (real)", _CVLFACE, "ViT-B, AdaFace", is_real=True),
    "cvlface_adaface_vit_base_kprpe_webface4m": ReleasedNetwork(
        "WebFace4M (real)", _CVLFACE, "ViT-B KP-RPE, AdaFace", is_real=True
    ),
    "w600k_r50": ReleasedNetwork(
        "WebFace600K (real)", is_real=True, printed={"lfw": 99.83, "cfp_fp": 99.33, "agedb_30": 98.23}
    ),
    "glintr100": ReleasedNetwork("Glint360K (real)", is_real=True),
    "mobilefacenet_y1": ReleasedNetwork("MS1M (real)", is_real=True, printed={"lfw": 99.50, "cfp_fp": 88.94}),
}
"""Name of the file without its suffix -> network. The last three are insightface's (see docs/challenge.md)."""


def find_networks(weights: Path) -> dict[Path, ReleasedNetwork]:
    """The files of a folder that have the name of a released network, by name.

    Raises:
        InputError: If there is none; the message lists the names.
    """
    files = sorted(path for path in weights.glob("*") if path.suffix in SUFFIXES)
    found = {path: NETWORKS[path.stem] for path in files if path.stem in NETWORKS}
    if not found:
        raise InputError(
            f"{weights} holds none of the released networks; save one of {', '.join(NETWORKS)} there as "
            f"{', '.join(SUFFIXES)}, for example by .venv/bin/python -m generate fetch fr-hsface10k"
        )
    return found


def printed_accuracies(network: ReleasedNetwork, rows: Sequence[PublishedRow]) -> dict[str, float]:
    """Test set -> accuracy in per cent, as the authors of a network print it; empty if no source prints any.

    Args:
        network: The network.
        rows: All rows of published.csv.

    Raises:
        InputError: If published.csv does not have exactly one row for the network.
    """
    if not network.source:
        return network.printed
    found = [
        row
        for row in rows
        if row.dataset == network.dataset and network.source in row.source and network.recipe in ("", row.recipe)
    ]
    if len(found) != 1:
        raise InputError(
            f"{PUBLISHED_PATH} has {len(found)} rows of {network.dataset} from {network.source}; keep exactly one"
        )
    return {name: value for name, value in found[0].accuracies.items() if value is not None}
