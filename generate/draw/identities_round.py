"""First round: candidate identity vectors -> the identities of the dataset, as optimised vectors.

Every candidate is optimised for quality and identity (AttrOP), its image is drawn, and the features of the image are
extracted. Identities whose image features are too similar to those of an earlier identity are dropped.

| file in ``parts`` | holds |
|---|---|
| ``candidates.npy`` | identity vectors that are separated from each other |
| ``centers-*.npz`` | shards: optimised vectors, image features, AttrOP's record |
| ``vectors.npy`` | optimised vectors of the identities of the dataset |
| ``kept.npy`` | their numbers among the candidates; written last |
"""

import math
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.files import write_array
from bench.runs.card_parts.statistics import DatasetStatistics, NearestIdentity
from bench.vectors.nearest import nearest_centers
from generate.draw import shards
from generate.draw.dataset_run import DatasetRun
from generate.draw.plan import center_jobs
from generate.identities import first_separated, read_vectors, sample_identities, separated

VECTORS_NAME, KEPT_NAME = "vectors.npy", "kept.npy"
_SEPARATION_SAMPLE = 10_000
"""Identities whose nearest other identity the card states. Separation itself compares all of them."""


def make_identities(run: DatasetRun) -> DatasetStatistics:
    """Make the identities, or the shards that are missing; all ranks return when ``kept.npy`` exists.

    Returns:
        Statistics of the candidates and of the separation on rank 0, none on the others.

    Raises:
        InputError: If too few identities are separated, or given identity vectors are invalid.
    """
    candidates_path, kept_path = run.parts / "candidates.npy", run.parts / KEPT_NAME
    if run.rank == 0 and not candidates_path.exists():
        write_array(candidates_path, _draw_candidates(run))
    run.wait_for([candidates_path])
    candidates = np.load(candidates_path, mmap_mode="r")
    paths = run.shard_paths("centers", ".npz", len(candidates))
    if not kept_path.exists():
        make = partial(_make_centers, run, candidates)
        run.make_shards(paths, len(candidates), make, is_whole=shards.has_arrays, images_per_identity=1)
    if run.rank == 0 and not kept_path.exists():
        run.wait_for(paths)
        numbers = _separate(run, shards.gather(paths, "features"), "features of the images")
        write_array(run.parts / VECTORS_NAME, shards.gather(paths, "vectors")[numbers])
        write_array(kept_path, numbers)
    run.wait_for([kept_path])
    return _describe_identities(run, paths) if run.rank == 0 else DatasetStatistics()


def _draw_candidates(run: DatasetRun) -> NDArray[np.float32]:
    """The separated vectors among the first of the plan; ``spare_share`` more are drawn than are needed."""
    plan, settings = run.plan, run.plan.settings
    feature_dim = run.networks.generator.architecture.feature_dim
    first, num = plan.first_candidate, math.ceil(settings.num_identities * (1 + settings.spare_share))
    kind, centers = plan.vector_source
    if kind == "file" and centers:
        num = max(settings.num_identities, min(num, len(read_vectors(centers, feature_dim)) - first))
    vectors = sample_identities(first + num, plan.seed, kind=kind, centers=centers, feature_dim=feature_dim)[first:]
    is_separated = separated(vectors, settings.max_cosine, device=run.networks.device)
    first_separated(
        vectors, is_separated, settings.num_identities, max_cosine=settings.max_cosine, what="identity vectors"
    )  # raises if too few are separated, before any image is drawn
    return vectors[is_separated]


def _make_centers(run: DatasetRun, candidates: NDArray[np.float32], path: Path, numbers: range) -> None:
    """Optimise the candidates of one shard and write it."""
    plan = run.plan
    vectors = np.asarray(candidates[numbers.start : numbers.stop])
    first = plan.first_candidate
    jobs = center_jobs(plan, range(first + numbers.start, first + numbers.stop), vectors)
    max_steps = plan.settings.attributes.max_steps if plan.center_steps is None else plan.center_steps
    outcomes = run.optimise(jobs, batch_size=plan.attribute_batch, max_steps=max_steps)
    names = ("vectors", "features", "steps", "accepted", "identity_cosine")
    shards.write_arrays(path, **{name: getattr(outcomes, name) for name in names}, **outcomes.attributes)


def _separate(run: DatasetRun, features: NDArray[np.float32], what: str) -> NDArray[np.int64]:
    """Numbers of the first candidates whose features are separated."""
    settings = run.plan.settings
    is_separated = separated(features, settings.max_cosine, device=run.networks.device)
    return first_separated(features, is_separated, settings.num_identities, max_cosine=settings.max_cosine, what=what)


def _describe_identities(run: DatasetRun, paths: list[Path]) -> DatasetStatistics:
    """Statistics over all candidates."""
    steps, accepted, cosine = (shards.gather(paths, name) for name in ("steps", "accepted", "identity_cosine"))
    numbers = np.load(run.parts / KEPT_NAME)
    return DatasetStatistics(
        candidates=len(steps),
        candidates_too_near=int(numbers[-1]) + 1 - len(numbers),
        centers_accepted=int(accepted.sum()),
        center_steps_mean=float(steps.mean()),
        center_identity_cosine_mean=float(cosine.mean()),
        nearest_identity=_describe_separation(run, paths, numbers),
    )


def _describe_separation(run: DatasetRun, paths: list[Path], numbers: NDArray[np.int64]) -> NearestIdentity:
    """Cosine of an identity to its nearest other, by the features of their images, over the first identities."""
    num = min(len(numbers), _SEPARATION_SAMPLE)
    if num < 2:
        return NearestIdentity(num_identities=num, cosine_mean=None, cosine_max=None)
    num_shards = int(numbers[num - 1]) // run.plan.settings.identities_per_shard + 1
    features = shards.gather(paths[:num_shards], "features")[numbers[:num]]
    cosines, _ = nearest_centers(features, features, own=np.arange(num), device=run.networks.device)
    return NearestIdentity(num_identities=num, cosine_mean=float(cosines.mean()), cosine_max=float(cosines.max()))
