"""Second round: the identities of the dataset -> shards of their images.

Images without a pose are drawn from perturbed vectors as they are, and some of them are rotated on a mean 3D head
(``pose/views.py``). Images with a landmark picture are drawn at its pose (``pose/bank.py``). The other images are
optimised for their yaw (AttrOP). Then the filters are applied to each identity.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config.generator import ImageFilters, Quota
from bench.faces.face import encode_jpeg
from bench.vectors.nearest import nearest_centers
from generate.draw import shards
from generate.draw.attrop import Outcomes
from generate.draw.dataset_run import DatasetRun
from generate.draw.identities_round import kept_name, vectors_name
from generate.draw.plan import Plan, identity_rows, image_jobs
from generate.draw.pose.views import turn_outcomes
from generate.draw.qualify.filters import KEPT, drop_reasons
from generate.draw.qualify.quota import apply_quota, judge_reasons, next_rows
from generate.identities import read_vectors
from generate.networks.over_faces import outputs_over_faces

_ENCODERS = 2
NOT_DRAWN = "not drawn"
"""Reason of an image that a quota did not need; it is not counted."""


def image_shards(run: DatasetRun, tries: Sequence[int]) -> dict[Path, range]:
    """The shards of images and their identities, in the order of the dataset.

    Args:
        run: The run.
        tries: Number of identities whose images are made, at first and after each time that a quota needed more.
    """
    return run.shard_ranges("images", ".parquet", tries)


def make_images(run: DatasetRun, tries: Sequence[int]) -> None:
    """Make this rank's shards of images that do not exist yet; needs the files of the first round.

    Args:
        run: The run.
        tries: As for ``image_shards``.
    """
    candidates = shards.read_part(run.parts / kept_name(run.plan, tries[-1]))
    vectors = shards.read_part(run.parts / vectors_name(run.plan, tries[-1]))
    known_path = run.plan.array_path(run.plan.settings.filters.known_centers)
    known_centers = read_vectors(known_path, vectors.shape[1]) if known_path else None
    run.make_shards(
        image_shards(run, tries),
        partial(_make_shard, run, candidates, vectors, known_centers),
        is_whole=shards.has_images,
        is_same=partial(_has_same_images, candidates, vectors),
        images_per_identity=sum(run.plan.drawn_counts),
    )


def _has_same_images(
    candidates: NDArray[np.int64], vectors: NDArray[np.float32], folder: Path, path: Path, identities: range
) -> bool:
    """Whether the shard of this name in another folder holds the images of the same vectors."""
    if shards.identities_of(folder / path.name) != set(identities):
        return False
    own = slice(identities.start, identities.stop)
    for kept in folder.glob("kept*.npy"):
        its_candidates = shards.read_part(kept)[own]
        its_vectors = shards.read_part(kept.with_name(kept.name.replace("kept", "vectors")))[own]
        if np.array_equal(its_candidates, candidates[own]) and np.array_equal(its_vectors, vectors[own]):
            return True
    return False


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
        draw = partial(_draw_rows, run, rows, result, known_centers, pool)
        if settings.quota is None:
            draw(np.arange(len(rows["image"])))
            dropped = result.drop_reasons(identities, settings.filters)
        else:
            dropped = _fill_quota(run, settings.quota, rows, result, identities, draw)
        files = result.files()
    drawn = np.flatnonzero(result.is_drawn)
    records = {name: values[drawn] for name, values in result.records.items()}
    shards.write_images(path, records, [dropped[row] for row in drawn], [files[row] for row in drawn])


def _draw_rows(
    run: DatasetRun,
    rows: dict[str, NDArray],
    result: "ShardResult",
    known_centers: NDArray[np.float32] | None,
    pool: ThreadPoolExecutor,
    wanted: NDArray[np.int64],
) -> None:
    """Draw the rows ``wanted`` of a shard into its result."""
    for chosen, batch_size, max_steps in _groups(run.plan, rows, wanted):
        if not len(chosen):
            continue
        outcomes = _draw(run, rows, chosen, batch_size=batch_size, max_steps=max_steps)
        encoded = [pool.submit(encode_jpeg, image, run.plan.settings.jpeg_quality) for image in outcomes.images]
        result.add(chosen, outcomes, encoded)
        if known_centers is not None:
            cosines, _ = nearest_centers(outcomes.features, known_centers, device=run.networks.device)
            result.records["known_cosine"][chosen] = cosines


def _fill_quota(
    run: DatasetRun,
    quota: Quota,
    rows: dict[str, NDArray],
    result: "ShardResult",
    identities: range,
    draw: Callable[[NDArray[np.int64]], None],
) -> list[str]:
    """Draw images until each identity has its quota or all its rows are drawn; returns why each row is refused."""
    settings = run.plan.settings
    by_pose = _by_pose(rows)
    groups = 3 * rows["identity_id"] + by_pose
    wanted = np.asarray(run.plan.image_counts)[by_pose]
    reasons = [""] * len(groups)
    passes = np.zeros(len(groups), bool)
    chosen = next_rows(groups, wanted, result.is_drawn, passes) if quota.keep == "first" else np.arange(len(groups))
    features: NDArray[np.float32] | None = None
    while len(chosen):
        draw(chosen)
        reasons = result.drop_reasons(identities, settings.filters)
        if quota.min_judge_cosine is not None:
            outputs = _judge(run, result.images[chosen])
            features = np.zeros((len(groups), outputs.shape[1]), np.float32) if features is None else features
            features[chosen] = outputs
            reasons = judge_reasons(reasons, rows["identity_id"], features, quota.min_judge_cosine)
        passes = np.asarray([reason == KEPT for reason in reasons])
        chosen = next_rows(groups, wanted, result.is_drawn, passes)
    scores = {"first": None, "identity": result.records["identity_cosine"], "quality": result.records["quality"]}
    return apply_quota(rows["identity_id"], groups, wanted, reasons, scores[quota.keep])


def _judge(run: DatasetRun, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of images by the second network."""
    if run.networks.judge is None:
        raise ValueError("the quota has a judge, but no network was loaded for it")
    return outputs_over_faces(
        run.networks.judge, images, batch_size=run.plan.settings.batch_size, device=run.networks.device
    )


def _shard_rows(
    plan: Plan, candidates: NDArray[np.int64], vectors: NDArray[np.float32], identities: range
) -> dict[str, NDArray]:
    """Columns of ``identity_rows``, joined over the identities of a shard."""
    blocks = [
        identity_rows(plan, number, plan.first_candidate + int(candidates[number]), np.asarray(vectors[number]))
        for number in identities
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _by_pose(rows: dict[str, NDArray]) -> NDArray[np.int64]:
    """Per row: 0 without a pose, 1 with a landmark picture, 2 with a target yaw, as ``Plan.image_counts``; (R,)."""
    by_attrop = np.isfinite(rows["target_yaw"])
    by_landmarks = rows["picture"] >= 0 if "picture" in rows else np.zeros_like(by_attrop)
    return np.where(by_attrop, 2, by_landmarks.astype(int))


def _groups(
    plan: Plan, rows: dict[str, NDArray], wanted: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], int, int]]:
    """Which of the rows ``wanted`` are drawn together, with their batch size and most AttrOP steps."""
    settings, by_pose = plan.settings, _by_pose(rows)[wanted]
    pose_steps = settings.pose.max_steps if settings.pose else 0
    return [
        (wanted[by_pose == 0], settings.batch_size, 0),
        (wanted[by_pose == 1], plan.attribute_batch if pose_steps else settings.batch_size, pose_steps),
        (wanted[by_pose == 2], plan.attribute_batch, settings.attributes.max_steps),
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
        self.is_drawn = np.zeros(num, bool)
        self._encoded: dict[int, Future[bytes]] = {}

    def add(self, chosen: NDArray[np.int64], outcomes: Outcomes, encoded: list[Future[bytes]]) -> None:
        """Take over the outcomes of the rows ``chosen``, and their JPEG files once they are encoded."""
        self.records["steps"][chosen] = outcomes.steps
        self.records["accepted"][chosen] = outcomes.accepted
        self.records["identity_cosine"][chosen] = outcomes.identity_cosine
        for name, values in outcomes.attributes.items():
            self.records[name][chosen] = values
        self.images[chosen] = outcomes.images
        self.is_drawn[chosen] = True
        self._encoded |= zip(chosen.tolist(), encoded, strict=True)

    def files(self) -> list[bytes]:
        """The JPEG files in the order of the rows, empty for rows that were not drawn; waits until all are encoded."""
        return [self._encoded[row].result() if row in self._encoded else b"" for row in range(len(self.images))]

    def drop_reasons(self, identities: range, filters: ImageFilters) -> list[str]:
        """Why each row is dropped (see ``filters.drop_reasons``), or ``NOT_DRAWN``, in the order of the rows."""
        reasons = [NOT_DRAWN] * len(self.images)
        for identity_id in identities:
            rows = np.flatnonzero((self.records["identity_id"] == identity_id) & self.is_drawn)
            of_identity = drop_reasons(
                self.images[rows],
                filters,
                identity_cosine=self.records["identity_cosine"][rows],
                quality=self.records["quality"][rows],
                known_cosine=self.records["known_cosine"][rows],
            )
            for row, reason in zip(rows, of_identity, strict=True):
                reasons[row] = reason
        return reasons
