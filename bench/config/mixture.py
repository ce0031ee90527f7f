"""The kind of generator ``mixture``: faces of other benchmarks and datasets, put together without copying them.

``bench/faces/mixture`` does the work, and says what the rules mean.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bench.config.settings import Count, GeneratorSettings, Settings

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class MixturePart(Settings):
    """The faces of another benchmark, or any face dataset on disk, and how much of them to take."""

    name: str | None = Field(
        None,
        pattern=r"^[^/\t\n]{1,100}$",
        exclude_if=lambda name: name is None,
        description="name in cards, lists of people and the leaderboard; by default that of the benchmark or the file",
    )
    benchmark: str | None = Field(
        None, exclude_if=lambda name: name is None, description="entry of the same file whose faces are used"
    )
    generator: GeneratorSettings | None = Field(
        None, exclude=True, description="generator of the benchmark, filled in when the file is loaded"
    )
    seed: Seed | None = Field(
        None, exclude_if=lambda seed: seed is None, description="seed of the benchmark's faces; null: that of the run"
    )
    path: str | None = Field(
        None,
        exclude_if=lambda path: path is None,
        description="LMDB, .rec, shards or folder, relative to the working directory",
    )
    mask: str | None = Field(
        None, exclude_if=lambda path: path is None, description=".npy of the positions of the faces to use"
    )
    leave_out: str | None = Field(
        None, exclude_if=lambda path: path is None, description="text file of identity names to leave out, one per line"
    )
    identities: Count | None = Field(
        None, exclude_if=lambda count: count is None, description="identities to draw at random; null: all"
    )
    images_per_identity: Count | None = Field(
        None, exclude_if=lambda count: count is None, description="exact number of images of each; null: all"
    )
    min_images_per_identity: Count = Field(
        1, exclude_if=lambda count: count == 1, description="identities with fewer images are left out before drawing"
    )
    max_images_per_identity: Count | None = Field(
        None, exclude_if=lambda count: count is None, description="most images of each identity; null: no limit"
    )
    share: float | None = Field(
        None,
        ge=0,
        exclude_if=lambda share: share is None,
        description="fraction of total_images; with keep_real, a multiple of the number of real images",
    )
    real: bool = Field(False, exclude_if=lambda real: not real, description="whether the faces are photographs")

    @property
    def label(self) -> str:
        """Name of the part, given or not."""
        return self.name or self.benchmark or Path(self.path or "").resolve().stem

    @model_validator(mode="after")
    def _is_one_source(self) -> "MixturePart":
        if (self.benchmark is None) == (self.path is None):
            raise ValueError(f"benchmark={self.benchmark} and path={self.path}: give one of them")
        if self.benchmark and (self.mask or self.leave_out):
            raise ValueError(f"mask and leave_out belong to a path, not to benchmark={self.benchmark}; remove them")
        if self.path and self.seed is not None:
            raise ValueError(f"seed={self.seed} belongs to a benchmark, not to path={self.path}; remove it")
        return self


class MixtureCaps(Settings):
    """Upper limits of the whole mixture, as challenges set them. What exceeds them is left out at random."""

    identities: Count | None = None
    images: Count | None = None
    images_per_identity: Count | None = None


class MixtureGenerator(GeneratorSettings):
    """Faces of several datasets with new labels, as a view: nothing is copied."""

    kind: Literal["mixture"]
    parts: tuple[MixturePart, ...] = Field(min_length=1, max_length=1000)
    total_images: Count | None = Field(
        None,
        exclude_if=lambda count: count is None,
        description="images of the mixture; every part gives its share: can generated faces replace real ones?",
    )
    keep_real: bool = Field(
        False,
        exclude_if=lambda keep: not keep,
        description="take real parts whole and add the others by their share: do generated faces help?",
    )
    filled_by: Literal["identities", "images"] = Field(
        "identities",
        exclude_if=lambda rule: rule == "identities",
        description="whether a budget cuts a part by leaving out identities, or images of all identities",
    )
    caps: MixtureCaps | None = Field(None, exclude_if=lambda caps: caps is None)
    shared_identities: Literal["refuse", "merge", "separate"] = Field(
        "refuse",
        exclude_if=lambda rule: rule == "refuse",
        description="what to do with people whom parts share, by the names of folders or by same_people",
    )
    same_people: str | None = Field(
        None,
        exclude_if=lambda path: path is None,
        description="text file; every line names identities of one person as PART/NAME, separated by tabs",
    )
    seed: Seed | None = Field(
        None, exclude_if=lambda seed: seed is None, description="seed of the drawing of subsets; null: that of the run"
    )

    @property
    def weight_files(self) -> list[str]:
        """Files that the parts need before they can be generated."""
        files = [file for part in self.parts if part.generator for file in part.generator.weight_files]
        return list(dict.fromkeys(files))

    @model_validator(mode="after")
    def _fits(self) -> "MixtureGenerator":
        names = [part.label for part in self.parts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two parts are called {twice[0]}; give each a name of its own")
        return self
