"""Plan -> shards of whole identities -> one LMDB: the same bytes however often killed, by however many processes.

Two rounds. First every candidate identity vector is optimised for quality and identity (AttrOP), its image is drawn
and its features are taken again; identities that are not apart in these features are dropped. Then the images of the
identities that are left: perturbed vectors drawn as they are, and some optimised for a target yaw.

A shard is the unit of work. What it holds depends on the plan alone: random numbers come from (seed, identity, image),
and batches never cross shards. Rank r makes the shards r, r + world, ...; only files are shared, and each appears
whole, so that a killed run goes on with the shards that are there. Rank 0 decides separation and joins the shards.
"""

import math
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.grid import sample_grid, write_grid
from bench.faces.lmdb_file import LmdbFaces, encode_jpeg
from bench.files import read_json, write_array, write_json
from bench.machine.device import keep_freed_memory
from bench.machine.progress import progress
from bench.runs.stage import stage_lock
from bench.vectors.nearest import nearest_centers
from generate.draw import shards
from generate.draw.attrop import PRESETS, Goal, Jobs, Outcomes, Preset, optimise
from generate.draw.filters import drop_reasons
from generate.draw.plan import Plan, center_jobs, identity_rows, image_jobs
from generate.draw.views import turn_outcomes
from generate.identities import first_separated, read_vectors, sample_identities, separated
from generate.networks.estimators import Estimator
from generate.vec2face import Vec2Face

_ENCODERS = 2
_SEPARATION_SAMPLE = 10_000
"""Identities for which the card states the nearest other one; all are compared when identities are chosen."""


@dataclass(frozen=True)
class Networks:
    """The networks, on their device, in eval mode."""

    generator: Vec2Face
    identity: Estimator
    quality: Estimator
    yaw: Estimator | None = None
    """Needed where the plan has a pose share."""
    device: str | torch.device = "cpu"


def generate_dataset(
    directory: str | Path, plan: Plan, networks: Networks, *, rank: int = 0, world: int = 1
) -> dict[str, Any] | None:
    """Make the dataset, or what is left of it, in ``directory``: faces.lmdb, faces.parquet, grid.png.

    Shards stay in ``directory/parts`` until ``remove_parts``.

    Args:
        directory: Where the dataset appears; all processes must see it.
        plan: What to make.
        networks: The weights.
        rank: Number of this process.
        world: Number of processes.

    Returns:
        Statistics for the dataset's card on rank 0, None on the others.

    Raises:
        InputError: If the folder holds another plan or is in use, too few identities stay apart, or vectors are bad.
    """
    directory = Path(directory)
    parts = directory / "parts"
    with stage_lock(parts) if rank == 0 else nullcontext():
        run = _Run(plan, networks, parts, rank, world)
        try:
            run.claim()
            separation = run.make_identities()
            run.make_images()
        except FileNotFoundError:
            if run.is_over:  # all shards were there: the first process has joined and removed them by now
                return None
            raise
        if rank != 0:
            return None
        shards.wait_for(run.image_shards)
        num_images = plan.num_identities * plan.images_per_identity
        statistics = shards.join_shards(run.image_shards, directory, num_images)
        labels = shards.read_labels(directory / "faces.parquet")
        write_grid(directory / "grid.png", sample_grid(LmdbFaces(directory / "faces.lmdb", labels)))
        return statistics | separation


def remove_parts(directory: str | Path) -> None:
    """Delete the shards of a dataset whose card is written."""
    shutil.rmtree(Path(directory) / "parts", ignore_errors=True)


class _Run:
    """One process at work on one plan."""

    def __init__(self, plan: Plan, networks: Networks, parts: Path, rank: int, world: int) -> None:
        if plan.pose_share > 0 and (networks.yaw is None or not plan.yaw_degrees):
            raise InputError(f"pose_share={plan.pose_share:g} needs a yaw estimator and yaw_degrees; set pose_share=0")
        if plan.turned_share > 0 and networks.yaw is None:
            raise InputError(f"turned.share={plan.turned_share:g} needs a yaw estimator; leave out turned")
        torch.backends.cudnn.benchmark = False  # would choose kernels by timing, and so the last bits by chance
        torch.backends.cudnn.deterministic = True
        keep_freed_memory()
        self._plan, self._networks, self._parts = plan, networks, parts
        self._rank, self._world = rank, world
        self._preset: Preset = PRESETS[plan.preset]
        self._on_done: Callable[[int], object] = lambda num_done: None
        num_shards = math.ceil(plan.num_identities / plan.identities_per_shard)
        self.image_shards = [parts / f"images-{index:06d}.parquet" for index in range(num_shards)]

    @property
    def is_over(self) -> bool:
        """Whether the dataset was finished and its shards removed, as a process that comes late finds it."""
        return self._rank != 0 and not self._parts.exists() and (self._parts.parent / "faces.lmdb").exists()

    def claim(self) -> None:
        """Write the plan into the folder (rank 0), or refuse a folder of another plan."""
        path = self._parts / "plan.json"
        if self._rank == 0 and not path.exists():
            write_json(path, {"fingerprint": self._plan.fingerprint, "plan": asdict(self._plan)})
        self._wait([path])
        if read_json(path)["fingerprint"] != self._plan.fingerprint:
            raise InputError(f"{self._parts} holds the shards of another plan; delete it or choose another folder")

    def make_identities(self) -> dict[str, Any]:
        """First round: ``kept.npy`` (candidate numbers) and ``vectors.npy`` (their optimised vectors)."""
        plan, kept_path = self._plan, self._parts / "kept.npy"
        candidates_path, vectors_path = self._parts / "candidates.npy", self._parts / "vectors.npy"
        if self._rank == 0 and not candidates_path.exists():
            write_array(candidates_path, self._draw_candidates())
        self._wait([candidates_path])
        candidates = np.load(candidates_path, mmap_mode="r")
        num_shards = math.ceil(len(candidates) / plan.identities_per_shard)
        paths = [self._parts / f"centers-{index:06d}.npz" for index in range(num_shards)]
        if not kept_path.exists():
            make = lambda index: self._make_centers(paths[index], candidates, index)  # noqa: E731
            self._make(paths, shards.has_arrays, make, lambda index: len(self._slice(index, len(candidates))))
        if self._rank == 0 and not kept_path.exists():
            self._wait(paths)
            kept = self._keep_apart(shards.gather(paths, "features"))
            write_array(vectors_path, shards.gather(paths, "vectors")[kept])
            write_array(kept_path, kept)
        self._wait([kept_path])
        return self._describe_identities(paths) if self._rank == 0 else {}

    def make_images(self) -> None:
        """Second round: the shards of images."""
        kept = np.load(self._parts / "kept.npy")
        vectors = np.load(self._parts / "vectors.npy", mmap_mode="r")
        make = lambda index: self._make_image_shard(index, kept, vectors)  # noqa: E731
        num_images = lambda index: len(self._slice(index, len(kept))) * self._plan.images_per_identity  # noqa: E731
        self._make(self.image_shards, shards.has_images, make, num_images)

    def _make(
        self,
        paths: list[Path],
        is_whole: Callable[[Path], bool],
        make: Callable[[int], None],
        num_images: Callable[[int], int],
    ) -> None:
        """Make this rank's shards that are not there yet, with a bar over its images."""
        mine = range(self._rank, len(paths), self._world)
        missing = [index for index in mine if not is_whole(paths[index])]
        done = sum(num_images(index) for index in set(mine).difference(missing))
        desc = paths[0].stem.split("-")[0]
        with progress(desc=desc, total=sum(map(num_images, mine)), initial=done) as bar:
            self._on_done = bar.update
            for index in missing:
                make(index)

    def _wait(self, paths: list[Path]) -> None:
        shards.wait_for(paths, is_over=lambda: self.is_over)

    def _keep_apart(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Numbers of the first candidates whose images' features are apart."""
        plan = self._plan
        apart = separated(features, plan.max_cosine, device=self._networks.device)
        what = "features of the images"
        return first_separated(features, apart, plan.num_identities, max_cosine=plan.max_cosine, what=what)

    def _draw_candidates(self) -> NDArray[np.float32]:
        """The first identity vectors that are apart, as many as needed and some spare."""
        plan, dim = self._plan, self._networks.generator.architecture.feature_dim
        first, num = plan.first_candidate, math.ceil(plan.num_identities * (1 + plan.spare_share))
        if plan.identities == "file" and plan.centers:
            num = max(plan.num_identities, min(num, len(read_vectors(plan.centers, dim)) - first))
        drawn = sample_identities(first + num, plan.seed, kind=plan.identities, centers=plan.centers, feature_dim=dim)
        vectors = drawn[first:]
        apart = separated(vectors, plan.max_cosine, device=self._networks.device)
        first_separated(vectors, apart, plan.num_identities, max_cosine=plan.max_cosine, what="identity vectors")
        return vectors[apart]

    def _make_centers(self, path: Path, candidates: NDArray[np.float32], index: int) -> None:
        plan = self._plan
        numbers = self._slice(index, len(candidates))
        vectors = np.asarray(candidates[numbers.start : numbers.stop])
        first = plan.first_candidate
        jobs = center_jobs(plan, range(first + numbers.start, first + numbers.stop), vectors)
        max_steps = plan.max_steps if plan.center_steps is None else plan.center_steps
        out = self._optimise(jobs, batch_size=plan.attribute_batch, max_steps=max_steps)
        names = ("vectors", "features", "steps", "accepted", "identity_cosine")
        shards.write_arrays(path, **{name: getattr(out, name) for name in names}, **out.attributes)

    def _make_image_shard(self, index: int, kept: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Draw the images of one shard, judge them, encode them off this thread, write them."""
        plan = self._plan
        identities = self._slice(index, len(kept))
        first = plan.first_candidate
        blocks = [identity_rows(plan, n, first + int(kept[n]), np.asarray(vectors[n])) for n in identities]
        rows = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
        posed = np.isfinite(rows["target_yaw"])
        made = _Made(rows)
        known = read_vectors(plan.known_centers, vectors.shape[1]) if plan.known_centers else None
        with ThreadPoolExecutor(_ENCODERS) as pool:
            for chosen, batch_size, max_steps in (
                (np.flatnonzero(~posed), plan.batch_size, 0),
                (np.flatnonzero(posed), plan.attribute_batch, plan.max_steps),
            ):
                if len(chosen):
                    jobs = image_jobs(plan, rows, chosen, with_yaw=self._networks.yaw is not None)
                    out = self._optimise(jobs, batch_size=batch_size, max_steps=max_steps)
                    if plan.turned_share > 0:
                        self._turn(out, jobs, rows["turned_yaw"][chosen])
                    if known is not None:
                        cosines, _ = nearest_centers(out.features, known, device=self._networks.device)
                        made.records["known_cosine"][chosen] = cosines
                    made.add(chosen, out, [pool.submit(encode_jpeg, image, plan.jpeg_quality) for image in out.images])
            dropped: list[str] = []
            for n in identities:
                rows_of = np.flatnonzero(rows["identity_id"] == n)
                dropped += drop_reasons(
                    made.images[rows_of],
                    plan.filters,
                    identity_cosine=made.records["identity_cosine"][rows_of],
                    quality=made.records["quality"][rows_of],
                    known_cosine=made.records["known_cosine"][rows_of],
                )
            encoded = [future.result() for future in made.encoded]
        shards.write_images(self.image_shards[index], made.records, dropped, encoded)

    def _turn(self, out: Outcomes, jobs: Jobs, degrees: NDArray[np.float32]) -> None:
        networks = self._networks
        attributes = {name: goal.estimator for name, goal in self._goals(jobs).items()}
        turn_outcomes(
            out,
            jobs,
            degrees,
            networks.identity,
            attributes,
            batch_size=self._plan.batch_size,
            device=networks.device,
        )

    def _goals(self, jobs: Jobs) -> dict[str, Goal]:
        networks = self._networks
        return self._preset.goals(networks.quality, networks.yaw if "yaw" in jobs.targets else None)

    def _optimise(self, jobs: Jobs, *, batch_size: int, max_steps: int) -> Outcomes:
        networks = self._networks
        return optimise(
            networks.generator,
            networks.identity,
            self._goals(jobs),
            jobs,
            preset=self._preset,
            batch_size=batch_size,
            max_steps=max_steps,
            device=networks.device,
            on_done=self._on_done,
        )

    def _slice(self, shard: int, num: int) -> range:
        size = self._plan.identities_per_shard
        return range(shard * size, min((shard + 1) * size, num))

    def _describe_identities(self, paths: list[Path]) -> dict[str, Any]:
        """Figures of the first round, over all candidates."""
        centers = [np.load(path) for path in paths]
        steps, accepted, cosine = (
            np.concatenate([center[name] for center in centers]) for name in ("steps", "accepted", "identity_cosine")
        )
        kept = np.load(self._parts / "kept.npy")
        return {
            "candidates": len(steps),
            "candidates_too_near": int(kept[-1]) + 1 - len(kept),
            "centers_accepted": int(accepted.sum()),
            "center_steps_mean": float(steps.mean()),
            "center_identity_cosine_mean": float(cosine.mean()),
            "nearest_identity": self._describe_separation(paths, kept),
        }

    def _describe_separation(self, paths: list[Path], kept: NDArray[np.int64]) -> dict[str, Any]:
        """Cosine of an identity to the nearest other one, by the features of their images; of the first identities."""
        num = min(len(kept), _SEPARATION_SAMPLE)
        if num < 2:
            return {"num_identities": num, "cosine_mean": None, "cosine_max": None}
        shown = paths[: int(kept[num - 1]) // self._plan.identities_per_shard + 1]
        features = shards.gather(shown, "features")[kept[:num]]
        cosines, _ = nearest_centers(features, features, own=np.arange(num), device=self._networks.device)
        return {"num_identities": num, "cosine_mean": float(cosines.mean()), "cosine_max": float(cosines.max())}


class _Made:
    """What a shard's images became, gathered row by row."""

    def __init__(self, rows: dict[str, NDArray]) -> None:
        num = len(rows["identity_id"])
        names = ("identity_id", "candidate", "image", "sigma", "target_yaw", "turned_yaw")
        self.records: dict[str, NDArray] = {name: rows[name] for name in names}
        seen = ("identity_cosine", "quality", "yaw", "known_cosine")
        self.records |= {name: np.full(num, np.nan, np.float32) for name in seen}
        self.records |= {"steps": np.zeros(num, np.int32), "accepted": np.zeros(num, bool)}
        self.images = np.zeros((num, 112, 112, 3), np.uint8)
        self.encoded: list[Any] = [None] * num

    def add(self, chosen: NDArray[np.int64], out: Outcomes, encoded: list[Any]) -> None:
        self.records["steps"][chosen], self.records["accepted"][chosen] = out.steps, out.accepted
        self.records["identity_cosine"][chosen] = out.identity_cosine
        for name, values in out.attributes.items():
            self.records[name][chosen] = values
        self.images[chosen] = out.images
        for row, future in zip(chosen, encoded, strict=True):
            self.encoded[row] = future
