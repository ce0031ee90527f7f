"""Settings and seed -> the rows of a dataset's images: vectors, masks and targets.

A ``Plan`` holds the settings of benchmarks.yaml and what is known at run time only. Random numbers come from (seed,
candidate, image), so a row does not depend on how the work is split.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.config.generator import Vec2FaceGenerator, weight_path
from bench.errors import InputError
from generate.draw.attrop import Jobs
from generate.draw.perturbation import apportion, draw_views, perturb, strengths
from generate.networks.masks import MaskRatio, draw_masks
from generate.vec2face import NUM_GRID_TOKENS

POSE_SIGMA = 0.7
"""Noise of the images with a target yaw before AttrOP (Vec2Face, pose_image_generation.py)."""
MASK_RATIO = MaskRatio()
_CENTER_IMAGE = 2**31
"""Image number under which an identity's centre draws its random numbers. No image of a dataset has so high a one."""


@dataclass(frozen=True)
class Plan:
    """Everything that a face dataset depends on."""

    settings: Vec2FaceGenerator
    seed: int = 0
    weights: Path = Path()
    """Folder of the arrays that the settings name."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 per weight file and array: an unfinished dataset is not continued with other weights."""
    vectors: Path | None = None
    """``.npy`` of identity vectors to use instead of those that the settings describe."""
    first_candidate: int = 0
    """Number of the first identity vector to use. All keep their numbers, and so their random numbers."""
    center_steps: int | None = None
    """AttrOP steps on the identity vectors themselves: 0 leaves them unchanged, None allows ``max_steps``."""

    def description(self) -> dict[str, Any]:
        """The plan as JSON, by which an unfinished dataset is recognised.

        Folders are left out, because the same files may lie elsewhere; the digests cover their content.
        """
        return self.settings.model_dump(mode="json") | {
            "seed": self.seed,
            "digests": dict(self.digests),
            "first_candidate": self.first_candidate,
            "center_steps": self.center_steps,
        }

    @property
    def image_counts(self) -> list[int]:
        """Images per identity without a target yaw, and with one."""
        pose_share = self.settings.attributes.pose_share
        return apportion(self.settings.images_per_identity, (1 - pose_share, pose_share))

    @property
    def drawn_counts(self) -> list[int]:
        """Images per identity that may be drawn without a target yaw, and with one; more than kept for a quota."""
        quota, pose_share = self.settings.quota, self.settings.attributes.pose_share
        return apportion(quota.max_drawn, (1 - pose_share, pose_share)) if quota else self.image_counts

    @property
    def attribute_batch(self) -> int:
        """Images that AttrOP optimises at the same time: a quarter of ``batch_size``, at least 1.

        Backpropagation needs more memory than a forward pass. An image that is accepted makes room for the next one of
        its shard, so the batch stays full only while the shard has many more images than the batch.
        """
        return max(1, self.settings.batch_size // 4)

    @property
    def vector_source(self) -> tuple[Literal["gaussian", "pca", "file"], Path | None]:
        """Kind and file of the identity vectors, as ``generate.identities.sample_identities`` takes them."""
        if self.vectors is not None:
            return "file", self.vectors
        return self.settings.identities, self.array_path(self.settings.centers)

    def array_path(self, name: str | None) -> Path | None:
        """Path of an array that the settings name; None where they name none."""
        return weight_path(name, self.weights) if name else None


def identity_rows(plan: Plan, identity_id: int, candidate: int, vector: NDArray[np.float32]) -> dict[str, NDArray]:
    """The rows of one identity's images, by column: start vectors, masks, targets and what made them.

    Images without a target yaw come first.

    Args:
        plan: The plan.
        identity_id: Number of the identity in the dataset.
        candidate: Number of its vector among the candidates, which decides the random numbers.
        vector: Identity vector, shape (D,).
    """
    settings, attributes, noise = plan.settings, plan.settings.attributes, plan.settings.perturbation
    num_plain, num_posed = plan.drawn_counts
    num = num_plain + num_posed
    plain_sigma = strengths(plan.seed, candidate, num_plain, noise.sigmas, noise.shares)
    sigma = np.concatenate([plain_sigma, np.full(num_posed, POSE_SIGMA)]).astype(np.float32)
    yaw = np.full(num, np.nan, np.float32)
    for index in range(num_posed):
        yaw[num_plain + index] = attributes.yaw_degrees[(candidate + index) % len(attributes.yaw_degrees)]
    turned_yaw = np.full(num, np.nan, np.float32)
    if settings.turned is not None:
        turned = settings.turned
        turned_yaw[:num_plain] = draw_views(plan.seed, candidate, num_plain, turned.share, turned.degrees)
    mask_noise, mask_ratio = draw_masks(plan.seed, candidate, range(num), NUM_GRID_TOKENS, MASK_RATIO)
    directions, differences = plan.array_path(noise.directions), plan.array_path(noise.differences)
    vectors = perturb(
        vector,
        sigma,
        seed=plan.seed,
        identity_id=candidate,
        directions=_read_directions(directions, len(vector)) if directions else None,
        differences=_read_differences(differences, len(vector)) if differences else None,
    )
    return {
        "identity_id": np.full(num, identity_id),
        "candidate": np.full(num, candidate),
        "image": np.arange(num, dtype=np.int32),
        "sigma": sigma,
        "target_yaw": yaw,
        "turned_yaw": turned_yaw,
        "vector": vectors,
        "identity": np.broadcast_to(vector, (num, len(vector))),
        "noise": mask_noise,
        "mask_ratio": mask_ratio,
    }


def image_jobs(plan: Plan, rows: dict[str, NDArray], chosen: NDArray[np.int64], *, with_yaw: bool) -> Jobs:
    """AttrOP jobs of some rows.

    Rows without a target yaw have no target quality either. They are accepted by identity alone.

    Args:
        plan: The plan.
        rows: Columns of ``identity_rows``, joined over identities.
        chosen: Positions of the rows.
        with_yaw: Whether a yaw estimator measures the images.
    """
    target_yaw = rows["target_yaw"][chosen]
    quality = np.where(np.isfinite(target_yaw), plan.settings.attributes.quality, np.nan).astype(np.float32)
    targets = {"quality": quality} | ({"yaw": target_yaw} if with_yaw else {})
    return Jobs(
        rows["vector"][chosen], rows["identity"][chosen], rows["noise"][chosen], rows["mask_ratio"][chosen], targets
    )


def center_jobs(plan: Plan, candidates: range, vectors: NDArray[np.float32]) -> Jobs:
    """AttrOP jobs that optimise identity vectors for the quality of their images.

    Args:
        plan: The plan.
        candidates: Numbers of the identity vectors.
        vectors: The identity vectors, shape (num_candidates, D).
    """
    noises, ratios = [], []
    for number in candidates:
        noise, ratio = draw_masks(plan.seed, number, [_CENTER_IMAGE], NUM_GRID_TOKENS, MASK_RATIO)
        noises.append(noise)
        ratios.append(ratio)
    quality = np.full(len(vectors), plan.settings.attributes.quality, np.float32)
    return Jobs(vectors, vectors, np.concatenate(noises), np.concatenate(ratios), {"quality": quality})


@lru_cache(maxsize=1)
def _read_directions(path: Path, width: int) -> NDArray[np.float32]:
    return _read_array(path, (width, width), "the deviations.npy of generate prepare")


@lru_cache(maxsize=1)
def _read_differences(path: Path, width: int) -> NDArray[np.float32]:
    return _read_array(path, (None, width), "the differences.npy of generate variation")


def _read_array(path: Path, shape: tuple[int | None, int], source: str) -> NDArray[np.float32]:
    """A finite float32 array of a ``.npy``; None in ``shape`` allows any number of rows but zero."""
    try:
        array = np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); give {source}") from None
    fits = array.ndim == 2 and len(array) == (shape[0] or len(array)) > 0 and array.shape[1] == shape[1]
    if not fits or not np.isfinite(array).all():
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise InputError(
            f"{path} has shape {array.shape}, the identity vectors {shape[1]} dimensions; give a finite array of "
            f"({sizes}), {source}"
        )
    return array
