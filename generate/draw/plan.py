"""Settings and seed -> the rows of a dataset's images: vectors, masks and targets.

A ``Plan`` holds the settings of benchmarks.yaml and what is known at run time only. Random numbers come from (seed,
candidate, image), so a row does not depend on how the work is split.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.config.generator import Vec2FaceGenerator, weight_path
from bench.errors import InputError
from bench.files import read_array
from generate.draw.attrop import Jobs
from generate.draw.perturbation import apportion, draw_views, perturb, strengths
from generate.draw.pose.bank import LandmarkBank, make_bank
from generate.draw.pose.image_rows import (
    vectors_with_circumstances,
    with_neutral_circumstances,
    without_circumstances,
)
from generate.networks.masks import POSED_MASK_RATIO, MaskRatio, draw_masks
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
    landmarks: Path | None = None
    """Landmark pictures or points to use instead of those that the settings describe."""

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
        """Images per identity without a pose, with a landmark picture, and with a target yaw of AttrOP."""
        return self._by_pose(self.settings.images_per_identity)

    @property
    def drawn_counts(self) -> list[int]:
        """Images per identity that may be drawn, as ``image_counts``; more than are kept, for a quota."""
        quota, kept = self.settings.quota, self.image_counts
        if quota is None:
            return kept
        # Rounding can give a pose one image fewer of a larger number (the Alabama paradox).
        return [max(counts) for counts in zip(self._by_pose(quota.max_drawn), kept, strict=True)]

    def _by_pose(self, num_images: int) -> list[int]:
        by_attrop = self.settings.attributes.pose_share
        by_landmarks = self.settings.pose.share if self.settings.pose else 0.0
        plain = max(0.0, 1 - by_attrop - by_landmarks)
        return apportion(num_images, (plain, by_landmarks, by_attrop))

    @cached_property
    def landmark_bank(self) -> LandmarkBank | None:
        """The landmark pictures of the dataset; None where no image is drawn by one."""
        if self.settings.pose is None:
            return None
        return make_bank(self.settings.pose, self.landmarks or self.array_path(self.settings.pose.landmarks))

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

    Images without a pose come first, then those with a landmark picture, then those with a target yaw of AttrOP.

    Args:
        plan: The plan.
        identity_id: Number of the identity in the dataset.
        candidate: Number of its vector among the candidates, which decides the random numbers.
        vector: Identity vector, shape (D,).
    """
    settings, attributes, noise = plan.settings, plan.settings.attributes, plan.settings.perturbation
    num_plain, num_landmarks, num_attrop = plan.drawn_counts
    num_free = num_plain + num_landmarks
    num = num_free + num_attrop
    free_sigma = strengths(plan.seed, candidate, num_free, noise.sigmas, noise.shares)
    sigma = np.concatenate([free_sigma, np.full(num_attrop, POSE_SIGMA)]).astype(np.float32)
    yaw = np.full(num, np.nan, np.float32)
    for index in range(num_attrop):
        yaw[num_free + index] = attributes.yaw_degrees[(candidate + index) % len(attributes.yaw_degrees)]
    turned_yaw = np.full(num, np.nan, np.float32)
    if settings.turned is not None:
        turned = settings.turned
        turned_yaw[:num_plain] = draw_views(plan.seed, candidate, num_plain, turned.share, turned.degrees)
    mask_noise, mask_ratio = draw_masks(plan.seed, candidate, range(num), NUM_GRID_TOKENS, MASK_RATIO)
    directions, differences = plan.array_path(noise.directions), plan.array_path(noise.differences)
    random = {"seed": plan.seed, "identity_id": candidate}
    identity = without_circumstances(vector) if noise.circumstances else vector
    if differences and noise.circumstances:
        given = _read_differences(differences, len(vector))
        vectors = vectors_with_circumstances(vector, sigma, yaw, given, **random)
    else:
        vectors = perturb(
            vector,
            sigma,
            directions=_read_directions(directions, len(vector)) if directions else None,
            differences=_read_differences(differences, len(vector)) if differences else None,
            **random,
        )
    rows = {
        "identity_id": np.full(num, identity_id),
        "candidate": np.full(num, candidate),
        "image": np.arange(num, dtype=np.int32),
        "sigma": sigma,
        "target_yaw": yaw,
        "turned_yaw": turned_yaw,
        "vector": vectors,
        "identity": np.broadcast_to(identity, (num, len(vector))),
        "noise": mask_noise,
        "mask_ratio": mask_ratio,
    }
    return rows | _landmark_rows(plan, candidate, rows, range(num_plain, num_free))


def _landmark_rows(plan: Plan, candidate: int, rows: dict[str, NDArray], images: range) -> dict[str, NDArray]:
    """Columns that the images with a landmark picture change or add; empty where the settings have no ``pose``.

    ``picture`` is the number of the picture, -1 for none; ``landmark_yaw`` and ``landmark_pitch`` are its angles.
    """
    bank = plan.landmark_bank
    if bank is None:
        return {}
    num, chosen = len(rows["image"]), slice(images.start, images.stop)
    noise, ratio = rows["noise"].copy(), rows["mask_ratio"].copy()
    picture = np.full(num, -1, np.int32)
    yaw, pitch = np.full(num, np.nan, np.float32), np.full(num, np.nan, np.float32)
    if len(images):
        noise[chosen], ratio[chosen] = draw_masks(plan.seed, candidate, images, NUM_GRID_TOKENS, POSED_MASK_RATIO)
        picture[chosen] = bank.choose(plan.seed, candidate, len(images))
        yaw[chosen], pitch[chosen] = bank.yaw[picture[chosen]], bank.pitch[picture[chosen]]
    return {
        "noise": noise,
        "mask_ratio": ratio,
        "picture": picture,
        "landmark_yaw": yaw,
        "landmark_pitch": pitch,
    }


def image_jobs(plan: Plan, rows: dict[str, NDArray], chosen: NDArray[np.int64], *, with_yaw: bool) -> Jobs:
    """AttrOP jobs of some rows, which either all have a landmark picture or all have none.

    Only images that AttrOP optimises have a target quality: those with a target yaw, and those with a landmark picture
    if ``pose.max_steps`` allows steps. Rows without targets are accepted by identity alone.

    Args:
        plan: The plan.
        rows: Columns of ``identity_rows``, joined over identities.
        chosen: Positions of the rows.
        with_yaw: Whether a yaw estimator measures the images.
    """
    target_yaw, bank, pose = rows["target_yaw"][chosen], plan.landmark_bank, plan.settings.pose
    is_optimised, landmarks = np.isfinite(target_yaw), None
    if bank is not None and pose is not None and (rows["picture"][chosen] >= 0).all():
        landmarks, target_yaw = bank.pictures[rows["picture"][chosen]], rows["landmark_yaw"][chosen]
        is_optimised = np.full(len(chosen), pose.max_steps > 0)
    quality = np.where(is_optimised, plan.settings.attributes.quality, np.nan).astype(np.float32)
    return Jobs(
        rows["vector"][chosen],
        rows["identity"][chosen],
        rows["noise"][chosen],
        rows["mask_ratio"][chosen],
        {"quality": quality} | ({"yaw": target_yaw} if with_yaw else {}),
        landmarks,
    )


def center_jobs(plan: Plan, candidates: range, vectors: NDArray[np.float32]) -> Jobs:
    """AttrOP jobs that optimise identity vectors for the quality of their images.

    Args:
        plan: The plan.
        candidates: Numbers of the identity vectors.
        vectors: The identity vectors, shape (num_candidates, D).
    """
    start = identity = vectors
    if plan.settings.perturbation.circumstances:
        start, identity = with_neutral_circumstances(vectors), without_circumstances(vectors)
    noises, ratios = [], []
    for number in candidates:
        noise, ratio = draw_masks(plan.seed, number, [_CENTER_IMAGE], NUM_GRID_TOKENS, MASK_RATIO)
        noises.append(noise)
        ratios.append(ratio)
    quality = np.full(len(vectors), plan.settings.attributes.quality, np.float32)
    return Jobs(start, identity, np.concatenate(noises), np.concatenate(ratios), {"quality": quality})


@lru_cache(maxsize=1)
def _read_directions(path: Path, width: int) -> NDArray[np.float32]:
    return _read_array(path, (width, width), "the deviations.npy of generate prepare")


@lru_cache(maxsize=1)
def _read_differences(path: Path, width: int) -> NDArray[np.float32]:
    return _read_array(path, (None, width), "the differences.npy of generate variation")


def _read_array(path: Path, shape: tuple[int | None, int], source: str) -> NDArray[np.float32]:
    """A finite float32 array of a ``.npy``; None in ``shape`` allows any number of rows but zero."""
    array = read_array(path)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds values of type {array.dtype}, not numbers; give {source}")
    array = array.astype(np.float32)
    fits = array.ndim == 2 and len(array) == (shape[0] or len(array)) > 0 and array.shape[1] == shape[1]
    if not fits or not np.isfinite(array).all():
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise InputError(
            f"{path} has shape {array.shape}, the identity vectors {shape[1]} dimensions; give a finite array of "
            f"({sizes}), {source}"
        )
    return array
