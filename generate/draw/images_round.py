"""Second round: the identities of the dataset -> shards of their images.

Images without a pose are drawn from perturbed vectors as they are, and some of them are rotated on a mean 3D head
(``pose/views.py``). Images with a landmark picture are drawn at its pose (``pose/bank.py``). The other images are
optimised for their yaw (AttrOP). Then the filters are applied to each identity.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config.generator import ImageFilters
from bench.faces.face import encode_jpeg
from bench.vectors.nearest import nearest_centers
from generate.draw import shards
from generate.draw.attrop import Outcomes
from generate.draw.dataset_run import DatasetRun
from generate.draw.filters import drop_reasons
from generate.draw.identities_round import KEPT_NAME, VECTORS_NAME
from generate.draw.plan import Plan, identity_rows, image_jobs
from generate.draw.pose.views import turn_outcomes
from generate.identities import read_vectors

_ENCODERS = 2


def image_shards(run: DatasetRun) -> list[Path]:
    """Paths of the shards of images, in the order of the dataset."""
    return run.shard_paths("images", ".parquet", run.plan.settings.num_identities)


def make_images(run: DatasetRun) -> None:
    """Make this rank's shards of images that do not exist yet; needs the files of the first round."""
    candidates = np.load(run.parts / KEPT_NAME)
    vectors = np.load(run.parts / VECTORS_NAME, mmap_mode="r")
    known_path = run.plan.array_path(run.plan.settings.filters.known_centers)
    known_centers = read_vectors(known_path, vectors.shape[1]) if known_path else None
    run.make_shards(
        image_shards(run),
        len(candidates),
        partial(_make_shard, run, candidates, vectors, known_centers),
        is_whole=shards.has_images,
        images_per_identity=run.plan.settings.images_per_identity,
    )


def _make_shard(
    run: DatasetRun,
    candidates: NDArray[np.int64],
    vectors: NDArray[np.float32],
    known_centers: NDArray[np.float32] | None,
    path: Path,
    identities: range,
) -> None:
    """Draw and filter the images of one shard, encode them in other threads, and write it."""
    settings = run.plan.settings
    rows = _shard_rows(run.plan, candidates, vectors, identities)
    result = ShardResult(rows)
    with ThreadPoolExecutor(_ENCODERS) as pool:
        for chosen, batch_size, max_steps in _groups(run.plan, rows):
            if not len(chosen):
                continue
            outcomes = _draw(run, rows, chosen, batch_size=batch_size, max_steps=max_steps)
            encoded = [pool.submit(encode_jpeg, image, settings.jpeg_quality) for image in outcomes.images]
            result.add(chosen, outcomes, encoded)
            if known_centers is not None:
                cosines, _ = nearest_centers(outcomes.features, known_centers, device=run.networks.device)
                result.records["known_cosine"][chosen] = cosines
        dropped = result.drop_reasons(identities, settings.filters)
        files = result.files()
    shards.write_images(path, result.records, dropped, files)


def _shard_rows(
    plan: Plan, candidates: NDArray[np.int64], vectors: NDArray[np.float32], identities: range
) -> dict[str, NDArray]:
    """Columns of ``identity_rows``, joined over the identities of a shard."""
    blocks = [
        identity_rows(plan, number, plan.first_candidate + int(candidates[number]), np.asarray(vectors[number]))
        for number in identities
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _groups(plan: Plan, rows: dict[str, NDArray]) -> list[tuple[NDArray[np.int64], int, int]]:
    """Rows that are drawn together, their batch size and most AttrOP steps: no pose, landmark pictures, target yaws."""
    settings = plan.settings
    by_attrop = np.isfinite(rows["target_yaw"])
    by_landmarks = rows["picture"] >= 0 if "picture" in rows else np.zeros_like(by_attrop)
    pose_steps = settings.pose.max_steps if settings.pose else 0
    return [
        (np.flatnonzero(~by_attrop & ~by_landmarks), settings.batch_size, 0),
        (np.flatnonzero(by_landmarks), plan.attribute_batch if pose_steps else settings.batch_size, pose_steps),
        (np.flatnonzero(by_attrop), plan.attribute_batch, settings.attributes.max_steps),
    ]


def _draw(
    run: DatasetRun, rows: dict[str, NDArray], chosen: NDArray[np.int64], *, batch_size: int, max_steps: int
) -> Outcomes:
    """Draw some rows of a shard, and rotate those that have a yaw to turn to."""
    jobs = image_jobs(run.plan, rows, chosen, with_yaw=run.networks.yaw is not None)
    outcomes = run.optimise(jobs, batch_size=batch_size, max_steps=max_steps)
    if run.plan.settings.turned is not None:
        turn_outcomes(
            outcomes,
            jobs,
            rows["turned_yaw"][chosen],
            run.networks.identity,
            {name: goal.estimator for name, goal in run.goals(jobs).items()},
            batch_size=run.plan.settings.batch_size,
            device=run.networks.device,
        )
    return outcomes


class ShardResult:
    """Images, records and JPEG files of one shard, filled in as its rows are drawn."""

    def __init__(self, rows: dict[str, NDArray]) -> None:
        num = len(rows["identity_id"])
        planned = ["identity_id", "candidate", "image", "sigma", "target_yaw", "turned_yaw"]
        planned += [name for name in shards.POSE_RECORD.names if name in rows]
        measured = ("identity_cosine", "quality", "yaw", "known_cosine")
        self.records: dict[str, NDArray] = {name: rows[name] for name in planned}
        self.records |= {name: np.full(num, np.nan, np.float32) for name in measured}
        self.records |= {"steps": np.zeros(num, np.int32), "accepted": np.zeros(num, bool)}
        self.images = np.zeros((num, 112, 112, 3), np.uint8)
        self._encoded: dict[int, Future[bytes]] = {}

    def add(self, chosen: NDArray[np.int64], outcomes: Outcomes, encoded: list[Future[bytes]]) -> None:
        """Take over the outcomes of the rows ``chosen``, and their JPEG files once they are encoded."""
        self.records["steps"][chosen] = outcomes.steps
        self.records["accepted"][chosen] = outcomes.accepted
        self.records["identity_cosine"][chosen] = outcomes.identity_cosine
        for name, values in outcomes.attributes.items():
            self.records[name][chosen] = values
        self.images[chosen] = outcomes.images
        self._encoded |= zip(chosen.tolist(), encoded, strict=True)

    def files(self) -> list[bytes]:
        """The JPEG files in the order of the rows; waits until all are encoded."""
        return [self._encoded[row].result() for row in range(len(self.images))]

    def drop_reasons(self, identities: range, filters: ImageFilters) -> list[str]:
        """Why each row is dropped (see ``filters.drop_reasons``), in the order of the rows."""
        reasons: list[str] = []
        for identity_id in identities:
            rows = np.flatnonzero(self.records["identity_id"] == identity_id)
            reasons += drop_reasons(
                self.images[rows],
                filters,
                identity_cosine=self.records["identity_cosine"][rows],
                quality=self.records["quality"][rows],
                known_cosine=self.records["known_cosine"][rows],
            )
        return reasons
