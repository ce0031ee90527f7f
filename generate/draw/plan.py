"""What a face dataset depends on, and the rows of its images: vectors, masks and targets, from the plan alone.

Random numbers come from (seed, candidate, image): a row does not depend on how the work is sliced.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from generate.draw.attrop import Jobs
from generate.draw.filters import Filters
from generate.draw.perturbation import apportion, draw_views, perturb, strengths
from generate.networks.masks import MaskRatio, draw_masks
from generate.vec2face import NUM_GRID_TOKENS

_CENTER_IMAGE = 2**31
"""Image number of a centre among the random numbers of its identity: beyond every real one."""


@dataclass(frozen=True)
class Plan:
    """All that a dataset depends on, besides the weights. Defaults: HSFace, as far as it was published."""

    num_identities: int
    images_per_identity: int = 50
    seed: int = 0
    identities: Literal["gaussian", "pca", "file"] = "gaussian"
    centers: str | None = None
    """``.npy`` of identity vectors, for ``pca`` and ``file``."""
    first_candidate: int = 0
    """Identity vectors before this one are left out; the others keep their numbers, and so their random numbers."""
    max_cosine: float = 0.3
    """Between identity vectors, and again between the features of their images."""
    spare_share: float = 0.05
    """Candidates beyond the number of identities, for those that are not apart; none where vectors are given."""
    sigmas: tuple[float, ...] = (0.3, 0.5, 0.7)
    shares: tuple[float, ...] = (0.4, 0.4, 0.2)
    directions: str | None = None
    """``.npy`` of ``prepare.deviation_directions``: how the noise lies; None for isotropic."""
    differences: str | None = None
    """``.npy`` of ``generate variation``: what is the noise, in place of normal numbers."""
    mask_ratio: MaskRatio = field(default_factory=MaskRatio)
    preset: Literal["v1", "v2"] = "v1"
    quality: float = 27.0
    max_steps: int = 30
    center_steps: int | None = None
    """Steps of the identity vectors themselves, 0 leaves them as they are; None for ``max_steps``."""
    pose_share: float = 0.2
    pose_sigma: float = 0.7
    yaw_degrees: tuple[float, ...] = (60.0, 85.0)
    turned_share: float = 0.0
    """Of the images without a target yaw: those that are turned afterwards, see generate/draw/views.py."""
    turned_degrees: tuple[float, float] = (20.0, 80.0)
    filters: Filters = field(default_factory=Filters)
    known_centers: str | None = None
    """``.npy`` of the centres of identities that the generator was trained on, for ``filters.max_known_cosine``."""
    identities_per_shard: int = 64
    batch_size: int = 64
    jpeg_quality: int = 95
    weights: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 per network: a run does not go on with other weights."""

    @property
    def fingerprint(self) -> str:
        """Hash of the plan. Folders of arrays are left out: what the files hold is among the weights' digests."""
        values = asdict(self)
        for name in ("centers", "directions", "differences", "known_centers"):
            values[name] = Path(values[name]).name if values[name] else None
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def image_counts(self) -> list[int]:
        """Images per identity that are drawn as they are, and that have a target yaw."""
        return apportion(self.images_per_identity, (1 - self.pose_share, self.pose_share))

    @property
    def attribute_batch(self) -> int:
        """Slots of AttrOP: its graph takes more memory, and a shard must hold several times as many jobs."""
        return max(1, self.batch_size // 4)


def identity_rows(plan: Plan, identity_id: int, candidate: int, vector: NDArray[np.float32]) -> dict[str, NDArray]:
    """The rows of one identity: start vectors, masks and targets of its images."""
    num_plain, num_posed = plan.image_counts
    num = num_plain + num_posed
    sigma = np.concatenate(
        [strengths(plan.seed, candidate, num_plain, plan.sigmas, plan.shares), np.full(num_posed, plan.pose_sigma)]
    ).astype(np.float32)
    yaw = np.full(num, np.nan, np.float32)
    for index in range(num_posed):
        yaw[num_plain + index] = plan.yaw_degrees[(candidate + index) % len(plan.yaw_degrees)]
    turned = np.full(num, np.nan, np.float32)
    turned[:num_plain] = draw_views(plan.seed, candidate, num_plain, plan.turned_share, plan.turned_degrees)
    noise, ratio = draw_masks(plan.seed, candidate, range(num), NUM_GRID_TOKENS, plan.mask_ratio)
    directions = _read_directions(plan.directions, len(vector)) if plan.directions else None
    differences = _read_differences(plan.differences, len(vector)) if plan.differences else None
    return {
        "identity_id": np.full(num, identity_id),
        "candidate": np.full(num, candidate),
        "image": np.arange(num, dtype=np.int32),
        "sigma": sigma,
        "target_yaw": yaw,
        "turned_yaw": turned,
        "vector": perturb(
            vector, sigma, seed=plan.seed, identity_id=candidate, directions=directions, differences=differences
        ),
        "identity": np.broadcast_to(vector, (num, len(vector))),
        "noise": noise,
        "mask_ratio": ratio,
    }


@lru_cache(maxsize=1)
def _read_directions(path: str, width: int) -> NDArray[np.float32]:
    return _read_array(path, (width, width), "the deviations.npy of generate prepare")


@lru_cache(maxsize=1)
def _read_differences(path: str, width: int) -> NDArray[np.float32]:
    return _read_array(path, (None, width), "the differences.npy of generate variation")


def _read_array(path: str, shape: tuple[int | None, int], what: str) -> NDArray[np.float32]:
    try:
        array = np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); give {what}") from None
    fits = array.ndim == 2 and len(array) == (shape[0] or len(array)) > 0 and array.shape[1] == shape[1]
    if not fits or not np.isfinite(array).all():
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise InputError(
            f"{path} has shape {array.shape}, the identity vectors {shape[1]} dimensions; give a finite array of "
            f"({wanted}), {what}"
        )
    return array


def image_jobs(plan: Plan, rows: dict[str, NDArray], chosen: NDArray[np.int64], *, with_yaw: bool) -> Jobs:
    """AttrOP jobs of some rows. Images drawn as they are have no target: they are judged by identity alone."""
    target_yaw = rows["target_yaw"][chosen]
    quality = np.where(np.isfinite(target_yaw), plan.quality, np.nan).astype(np.float32)
    targets = {"quality": quality} | ({"yaw": target_yaw} if with_yaw else {})
    return Jobs(
        rows["vector"][chosen], rows["identity"][chosen], rows["noise"][chosen], rows["mask_ratio"][chosen], targets
    )


def center_jobs(plan: Plan, candidates: range, vectors: NDArray[np.float32]) -> Jobs:
    """AttrOP jobs of identity vectors themselves, which shall give images of good quality."""
    masks = [draw_masks(plan.seed, number, [_CENTER_IMAGE], NUM_GRID_TOKENS, plan.mask_ratio) for number in candidates]
    noise, ratio = (np.concatenate(part) for part in zip(*masks, strict=True))
    return Jobs(vectors, vectors, noise, ratio, {"quality": np.full(len(vectors), plan.quality, np.float32)})
