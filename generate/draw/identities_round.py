"""First round: candidate identity vectors -> the identities of the dataset, as optimised vectors.

Every candidate is optimised for quality and identity (AttrOP), its image is drawn, and the features of the image are
extracted. Identities whose image features are too similar to those of an earlier identity are dropped.

| file in ``parts`` | holds |
|---|---|
| ``candidates.npy`` | identity vectors that are separated from each other |
| ``candidates-*.npy`` | the same and further ones, where too few were kept |
| ``centers-*.npz`` | shards: optimised vectors, image features, AttrOP's record |
| ``vectors.npy`` | optimised vectors of the identities of the dataset |
| ``kept.npy`` | their numbers among the candidates; written last |
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.files import write_array
from bench.runs.card_parts.statistics import DatasetStatistics, NearestIdentity
from bench.vectors.nearest import nearest_centers
from generate.draw import shards
from generate.draw.dataset_run import DatasetRun
from generate.draw.plan import Plan, center_jobs
from generate.draw.pose.image_rows import without_circumstances
from generate.draw.qualify.candidates import first_candidates, more_candidates
from generate.identities import separated

_SEPARATION_SAMPLE = 10_000
"""Identities whose nearest other identity the card states. Separation itself compares all of them."""


def make_identities(run: DatasetRun, num_identities: int) -> None:
    """Make the first identities of the dataset, or the shards that are missing; returns when their files exist.

    Where too few candidates are kept, further ones are drawn, in order, up to ``max_candidates``.

    Args:
        run: The run.
        num_identities: Identities that are needed.

    Raises:
        InputError: If too few identities are separated (all shards stay), or given identity vectors are invalid.
    """
    kept_path = run.parts / kept_name(run.plan, num_identities)
    number = max(0, len(_rounds(run)) - 1)
    while not kept_path.exists():
        if run.rank == 0 and number == 0 and not _rounds(run):
            write_array(
                _round_path(run, 0), first_candidates(run.plan, _feature_dim(run), num_identities, _device(run))
            )
        run.wait_for_any([_round_path(run, number), kept_path])
        if kept_path.exists():
            break
        candidates = shards.read_part(_round_path(run, number))
        ranges = _center_ranges(run, number)
        run.make_shards(
            ranges,
            partial(_make_centers, run, candidates),
            is_whole=shards.has_arrays,
            is_same=partial(_has_same_centers, candidates),
            images_per_identity=1,
        )
        number += 1
        if run.rank != 0:
            run.wait_for_any([_round_path(run, number), kept_path])
            continue
        paths = list(ranges)
        run.wait_for(paths)
        numbers = _separate(run, shards.gather(paths, "features"))
        if len(numbers) >= num_identities:
            numbers = numbers[:num_identities]
            write_array(run.parts / vectors_name(run.plan, num_identities), shards.gather(paths, "vectors")[numbers])
            write_array(kept_path, numbers)
        elif not _round_path(run, number).exists():
            counts = {"num_kept": len(numbers), "num_needed": num_identities}
            more = more_candidates(run.plan, _feature_dim(run), candidates, **counts, device=_device(run))
            write_array(_round_path(run, number), more)


def kept_name(plan: Plan, num_identities: int) -> str:
    """Name of the file of the numbers of the first identities among the candidates."""
    return _name_for("kept", plan, num_identities)


def vectors_name(plan: Plan, num_identities: int) -> str:
    """Name of the file of the vectors of the first identities."""
    return _name_for("vectors", plan, num_identities)


def _name_for(stem: str, plan: Plan, num_identities: int) -> str:
    """``kept.npy``; with the number of identities where a quota tries more than the dataset will have."""
    is_first = num_identities == plan.settings.num_identities
    return f"{stem}.npy" if is_first else f"{stem}-{num_identities}.npy"


def _round_path(run: DatasetRun, number: int) -> Path:
    return run.parts / ("candidates.npy" if number == 0 else f"candidates-{number:06d}.npy")


def _rounds(run: DatasetRun) -> list[Path]:
    """The candidates of all rounds so far."""
    return sorted(run.parts.glob("candidates*.npy"), key=lambda path: (len(path.name), path.name))


def _center_ranges(run: DatasetRun, number: int) -> dict[Path, range]:
    """The shards of centres of a round and of those before it."""
    ends = [len(shards.read_part(_round_path(run, earlier))) for earlier in range(number + 1)]
    return run.shard_ranges("centers", ".npz", ends)


def _has_same_centers(candidates: NDArray[np.float32], folder: Path, path: Path, numbers: range) -> bool:
    """Whether the shard of this name in another folder holds the same candidates."""
    with np.load(folder / path.name) as shard:
        num_rows = len(shard["steps"])
    newest = max(folder.glob("candidates*.npy"), key=lambda found: (len(found.name), found.name))
    others = shards.read_part(newest)[numbers.start : numbers.stop]
    return num_rows == len(numbers) and np.array_equal(others, candidates[numbers.start : numbers.stop])


def _feature_dim(run: DatasetRun) -> int:
    return run.networks.generator.architecture.feature_dim


def _device(run: DatasetRun) -> str:
    return str(run.networks.device)


def _make_centers(run: DatasetRun, candidates: NDArray[np.float32], path: Path, numbers: range) -> None:
    """Optimise the candidates of one shard and write it."""
    plan = run.plan
    vectors = np.asarray(candidates[numbers.start : numbers.stop])
    first = plan.first_candidate
    jobs = center_jobs(plan, range(first + numbers.start, first + numbers.stop), vectors)
    max_steps = plan.settings.attributes.max_steps if plan.center_steps is None else plan.center_steps
    outcomes = run.optimise(jobs, batch_size=plan.attribute_batch, max_steps=max_steps)
    names = ("vectors", "features", "steps", "accepted", "identity_cosine")
    arrays = {name: getattr(outcomes, name) for name in names}
    if plan.settings.perturbation.circumstances:
        arrays["vectors"] = without_circumstances(outcomes.vectors)
        if plan.vectors is not None:  # given people keep their own, such as the age that was set on the demo page
            arrays["vectors"] += vectors - without_circumstances(vectors)
    shards.write_arrays(path, **arrays, **outcomes.attributes)


def _separate(run: DatasetRun, features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Numbers of the candidates whose features are separated."""
    return np.flatnonzero(separated(features, run.plan.settings.max_cosine, device=run.networks.device))


def describe_identities(run: DatasetRun, num_identities: int) -> DatasetStatistics:
    """Statistics over all candidates, and of the separation of the first identities.

    Args:
        run: The run, after ``make_identities``.
        num_identities: Identities that were made.
    """
    ranges = _center_ranges(run, len(_rounds(run)) - 1)
    paths = list(ranges)
    steps, accepted, cosine = (shards.gather(paths, name) for name in ("steps", "accepted", "identity_cosine"))
    numbers = shards.read_part(run.parts / kept_name(run.plan, num_identities))
    return DatasetStatistics(
        candidates=len(steps),
        candidates_too_near=int(numbers[-1]) + 1 - len(numbers),
        centers_accepted=int(accepted.sum()),
        center_steps_mean=float(steps.mean()),
        center_identity_cosine_mean=float(cosine.mean()),
        nearest_identity=_describe_separation(run, ranges, numbers),
    )


def _describe_separation(run: DatasetRun, ranges: dict[Path, range], numbers: NDArray[np.int64]) -> NearestIdentity:
    """Cosine of an identity to its nearest other, by the features of their images, over the first identities."""
    num = min(len(numbers), _SEPARATION_SAMPLE)
    if num < 2:
        return NearestIdentity(num_identities=num, cosine_mean=None, cosine_max=None)
    needed = [path for path, candidates in ranges.items() if candidates.start <= int(numbers[num - 1])]
    features = shards.gather(needed, "features")[numbers[:num]]
    cosines, _ = nearest_centers(features, features, own=np.arange(num), device=run.networks.device)
    return NearestIdentity(num_identities=num, cosine_mean=float(cosines.mean()), cosine_max=float(cosines.max()))
