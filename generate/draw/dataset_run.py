"""One process at work on one plan: its networks, its share of the shards, and waiting for those of other processes.

Rank r makes the shards r, r + world_size, ... Processes share files only, and each file appears whole, so a run that
was killed continues from the shards that exist.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bench.errors import InputError
from bench.files import read_json_object, wait_for_any_file, wait_for_files, write_json
from bench.machine.device import keep_freed_memory
from bench.machine.figures import count_images
from bench.machine.progress import progress
from generate.draw.attrop import PRESETS, Goal, Jobs, Outcomes, Preset, optimise
from generate.draw.plan import Plan
from generate.draw.qualify.adopt import PLAN_NAME, adopt, parts_alike
from generate.networks.estimators import Estimator
from generate.networks.plus.condition import PosedGenerator
from generate.vec2face import Vec2Face


@dataclass(frozen=True)
class Networks:
    """The generator and the estimators, on their device, in eval mode."""

    generator: Vec2Face | PosedGenerator
    identity: Estimator
    quality: Estimator
    yaw: Estimator | None = None
    """Needed where the plan has target yaws, landmark pictures or turned views."""
    judge: Estimator | None = None
    """Second identity network, where a quota names one."""
    device: str | torch.device = "cpu"


class DatasetRun:
    """One process that works on a plan, in a folder that all its processes see.

    Args:
        plan: The dataset to make.
        networks: Its networks.
        parts: Folder of the shards.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        InputError: If the plan needs a yaw estimator or a pose model that is missing, or has no target yaws to use.
    """

    def __init__(self, plan: Plan, networks: Networks, parts: Path, *, rank: int, world_size: int) -> None:
        attributes, has_yaw = plan.settings.attributes, networks.yaw is not None
        if attributes.pose_share > 0 and not (has_yaw and attributes.yaw_degrees):
            raise InputError(
                f"pose_share={attributes.pose_share:g} needs a yaw estimator and yaw_degrees; set pose_share=0"
            )
        if plan.settings.turned is not None and not has_yaw:
            raise InputError(f"turned.share={plan.settings.turned.share:g} needs a yaw estimator; leave out turned")
        poses = plan.settings.pose
        if poses is not None and not isinstance(networks.generator, PosedGenerator):
            raise InputError(f"pose.share={poses.share:g} needs a pose model; give pose.weights")
        torch.backends.cudnn.benchmark = False  # it would choose kernels by timing, and results would differ in bits
        torch.backends.cudnn.deterministic = True
        keep_freed_memory()
        self.plan, self.networks, self.parts = plan, networks, parts
        self.rank, self.world_size = rank, world_size
        self._preset: Preset = PRESETS[attributes.preset]
        self._on_done: Callable[[int], object] = lambda num_done: None

    @property
    def finished_by_rank0(self) -> bool:
        """Whether rank 0 has already joined and removed the shards; a late process finds the folder like this."""
        return self.rank != 0 and not self.parts.exists() and (self.parts.parent / "faces.lmdb").exists()

    def write_or_check_plan(self) -> None:
        """Write the plan into an empty folder (rank 0), or check that the folder's shards belong to this plan.

        Raises:
            InputError: If they belong to another plan.
        """
        path, plan = self.parts / PLAN_NAME, self.plan.description()
        if self.rank == 0 and not path.exists():
            write_json(path, plan)
        self.wait_for([path])
        before = read_json_object(path)
        changed = sorted(name for name in before.keys() | plan.keys() if before.get(name) != plan.get(name))
        if changed:
            raise InputError(
                f"{self.parts} holds the shards of another plan or of an older version (other: {', '.join(changed)}); "
                "delete it, choose another folder, or finish it with the settings and version that began it"
            )

    def wait_for(self, paths: list[Path]) -> None:
        """Return when all files exist.

        Raises:
            FileNotFoundError: If rank 0 has finished the dataset, so that they will not appear any more.
        """
        wait_for_files(paths, is_over=lambda: self.finished_by_rank0)

    def wait_for_any(self, paths: list[Path]) -> None:
        """Return when one of the files exists; raises as ``wait_for``."""
        wait_for_any_file(paths, is_over=lambda: self.finished_by_rank0)

    def shard_ranges(self, prefix: str, suffix: str, ends: Sequence[int]) -> dict[Path, range]:
        """The shards of a round and the numbers of their identities, in order.

        Shards begin at multiples of their size. If a round grows, the identities that its last shard lacks get a
        further shard, so that finished shards stay as they are.

        Args:
            prefix: Start of the names.
            suffix: End of the names.
            ends: Number of identities of the round at first, and after each time that it grew.
        """
        size = self.plan.settings.identities_per_shard
        ranges = {}
        for start, end in zip((0, *ends), ends, strict=False):
            cuts = sorted({start, *range(start - start % size + size, end, size), end})
            for first, stop in pairwise(cuts):
                index, offset = divmod(first, size)
                name = f"{prefix}-{index:06d}" + (f"-{offset:06d}" if offset else "") + suffix
                ranges[self.parts / name] = range(first, stop)
        return ranges

    def make_shards(
        self,
        identities: Mapping[Path, range],
        make: Callable[[Path, range], None],
        *,
        is_whole: Callable[[Path], bool],
        is_same: Callable[[Path, Path, range], bool],
        images_per_identity: int,
    ) -> None:
        """Make this rank's shards that do not exist yet, with a progress bar over its images.

        Args:
            identities: All shards of the round, and the numbers of their identities.
            make: (path, numbers of its identities) -> writes that shard.
            is_whole: Whether a shard exists and is not cut short.
            is_same: (folder of another dataset's shards, shard to make, its identities) -> whether it is there.
            images_per_identity: Images of one identity, for the progress bar.
        """
        paths = list(identities)
        own_paths = paths[self.rank :: self.world_size]
        missing = [path for path in own_paths if not is_whole(path)]
        num_images = {path: len(identities[path]) * images_per_identity for path in own_paths}
        total, to_do = sum(num_images.values()), sum(num_images[path] for path in missing)
        description = paths[0].stem.split("-")[0]
        with progress(desc=description, total=total, initial=total - to_do) as bar:
            self._on_done = partial(_count_done, bar, description)
            others = parts_alike(self.parts, self.plan.description()) if missing else []
            for path in missing:
                if adopt(path, others, partial(_is_whole_and_same, is_whole, is_same, path, identities[path])):
                    bar.update(num_images[path])
                else:
                    make(path, identities[path])

    def goals(self, jobs: Jobs) -> dict[str, Goal]:
        """The attributes that the jobs have targets for."""
        return self._preset.goals(self.networks.quality, self.networks.yaw if "yaw" in jobs.targets else None)

    def optimise(self, jobs: Jobs, *, batch_size: int, max_steps: int) -> Outcomes:
        """AttrOP with the plan's preset and networks; see ``attrop.optimise``."""
        networks = self.networks
        return optimise(
            networks.generator,
            networks.identity,
            self.goals(jobs),
            jobs,
            preset=self._preset,
            batch_size=batch_size,
            max_steps=max_steps,
            device=networks.device,
            on_done=self._on_done,
        )


def _count_done(bar: "tqdm[Any]", work: str, num_images: int) -> None:
    bar.update(num_images)
    count_images(work, num_images)


def _is_whole_and_same(
    is_whole: Callable[[Path], bool],
    is_same: Callable[[Path, Path, range], bool],
    path: Path,
    identities: range,
    folder: Path,
) -> bool:
    """Whether the folder of another dataset's shards holds this shard, not cut short."""
    return is_whole(folder / path.name) and is_same(folder, path, identities)
