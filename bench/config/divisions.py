"""The divisions of open challenges: largest size of a dataset, and what training must not change.

``datacv_*`` continues the DataCV challenge of ICCV 2025, whose recipe is ``hsface_arcface`` to the letter (github
HaiyuWu/iccv2025-fr-competition, configs/arcface_r50_default.py). ``sdfr_task1`` is task 1 of SDFR (arXiv 2404.04580),
which fixes the backbone and leaves the rest of training free. Both allow synthetic identities only, which no
program can check.
"""

from typing import Literal, TypedDict

from pydantic import Field

from bench.config.recipe import Backbone, Recipe
from bench.config.settings import Count, Settings, settings_sha256

OverCaps = Literal["refuse", "subset"]
"""What happens to a dataset of files that exceeds the caps of its division."""
_HSFACE_RECIPE = "36a1285db9a1b6f3999e6fca00b8d751c33318a306339047b1627ba02caf1b42"


class CapSettings(TypedDict):
    """Largest size of a dataset, as ``bench.faces.mixture.subset.Caps``."""

    identities: int | None
    images: int


class Division(Settings):
    """The rules of one division."""

    challenge: Literal["datacv", "sdfr"]
    scale: str | None = Field(None, description="the challenge's own name of the division, in names of its files")
    max_identities: Count | None = Field(None, description="null: any number")
    max_images: Count
    recipe_sha256: str | None = Field(None, description="the frozen recipe (settings_sha256); null: any recipe")
    backbone: Backbone | None = Field(None, description="the frozen backbone; null: any, or that of the frozen recipe")

    def recipe_problem(self, recipe: Recipe) -> str | None:
        """What a recipe changes that the division forbids, and what to do; None if it is allowed."""
        digest = settings_sha256(recipe)
        if self.recipe_sha256 not in (None, digest):
            return (
                f"the recipe has the SHA-256 {digest[:16]}..., the division demands {(self.recipe_sha256 or '')[:16]}"
                "...; take hsface_arcface unchanged"
            )
        if self.backbone is not None and not _is_same_network(recipe.backbone, self.backbone):
            return (
                f"the backbone is {recipe.backbone.kind}-{recipe.backbone.depth}, the division demands a plain "
                f"{self.backbone.kind}-{self.backbone.depth} of width {self.backbone.width}; change the backbone"
            )
        return None

    def size_problem(self, num_identities: int, num_images: int) -> str | None:
        """Which cap a dataset exceeds, and by how much; None if it fits."""
        limits = (("identities", num_identities, self.max_identities), ("images", num_images, self.max_images))
        over = [f"{number:,} {what}, more than {most:,}" for what, number, most in limits if most and number > most]
        return " and ".join(over) or None


def _is_same_network(backbone: Backbone, demanded: Backbone) -> bool:
    """Whether two backbones have the same layers; dropout and length of the features are free."""
    free = {"dropout": 0.0, "embedding_dim": 512}
    return backbone.model_copy(update=free) == demanded.model_copy(update=free)


def _datacv(scale: str, max_identities: int) -> Division:
    return Division(
        challenge="datacv",
        scale=scale,
        max_identities=max_identities,
        max_images=50 * max_identities,
        recipe_sha256=_HSFACE_RECIPE,
    )


DIVISIONS = {
    "datacv_10k": _datacv("10K", 10_000),
    "datacv_20k": _datacv("20K", 20_000),
    "datacv_100k": _datacv("100K", 100_000),
    "sdfr_task1": Division(challenge="sdfr", max_images=1_000_000, backbone=Backbone(kind="iresnet", depth=50)),
}
"""Name, as in benchmarks.yaml -> rules."""
