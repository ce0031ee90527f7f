"""One stage of a benchmark: its folder, whether it is finished, why it would run, and the lock while it runs."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.config.generator import weight_path
from bench.errors import InputError
from bench.files import DISK_ERRORS, flatten, read_json_object, remove_abandoned, write_json, write_text
from bench.machine.device import launch_id, process_rank
from bench.machine.digests import remembered_sha256
from bench.machine.facts import environment, git_state
from bench.machine.progress import note
from bench.runs.cards import (
    CARD_NAMES,
    Card,
    CardHeader,
    DatasetCard,
    read_card,
)

_HOLDER_NAME = ".holder"
_POLL_SECONDS = 0.3
_LATEST_KEYS = {"generate": "dataset", "train": "model", "evaluate": "result"}


@dataclass(frozen=True)
class Stage:
    """One stage of one benchmark and seed: what it depends on, and where its result lies."""

    name: str
    directory: Path
    card: type[Card]
    inputs: dict[str, Any]
    changes: tuple[str, ...] = ()
    """Settings of this stage and those before it that differ from the entry of benchmarks.yaml, as FIELD=VALUE."""

    @property
    def fingerprint(self) -> str:
        """Name of the stage's folder: 16 hexadecimal digits."""
        return self.directory.name

    @property
    def is_finished(self) -> bool:
        """Whether the stage's card exists. The card is the last file that a stage writes."""
        return (self.directory / CARD_NAMES[self.card]).exists()

    def card_header(self, *, scale: str, seed: int) -> CardHeader:
        """The fields that every card has, for this process and machine; the stage adds its cost and its results."""
        return {
            "scale": scale,
            "seed": seed,
            "fingerprint": self.fingerprint,
            "inputs": self.inputs,
            "changes": self.changes,
            "command": shlex.join(["python", "-m", Path(sys.argv[0]).parent.name, *sys.argv[1:]]),
            "environment": environment(),
            "git": git_state(),
        }

    def reason(self, previous: Path | None) -> str:
        """Why the stage is skipped or runs, as text for the user.

        Args:
            previous: Folder of the last finished run of this stage in any version, or None.
        """
        if self.is_finished:
            return "unchanged"
        if self.directory.exists() and any(path.name[0] != "." for path in self.directory.iterdir()):
            return "was interrupted, goes on"
        if previous is None or not (previous / CARD_NAMES[self.card]).exists():
            return "no result yet"
        try:
            before, now = flatten(read_card(previous, self.card).inputs), flatten(self.inputs)
        except InputError:  # a broken card of another run must not stop this one
            return "no result yet"
        changes = [
            f"{key} {before.get(key, 'absent')} -> {now.get(key, 'absent')}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]
        return "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")


@dataclass(frozen=True)
class Stages:
    """The three stages of one benchmark and seed; iterates in the order in which they run."""

    generate: Stage
    train: Stage
    evaluate: Stage

    def __iter__(self) -> Iterator[Stage]:
        return iter((self.generate, self.train, self.evaluate))


def read_latest(runs: Path, scale: str) -> dict[str, Path]:
    """Folders of the last finished benchmark of a scale, by stage name; empty if none has finished."""
    path = runs / scale / "latest.json"
    latest = read_json_object(path) if path.exists() else {}
    return {name: Path(latest[key]) for name, key in _LATEST_KEYS.items() if isinstance(latest.get(key), str)}


def write_latest(runs: Path, scale: str, stages: Stages) -> None:
    """Record a finished benchmark as the last one of its scale, in ``runs/<scale>/latest.json``."""
    write_json(runs / scale / "latest.json", {_LATEST_KEYS[stage.name]: str(stage.directory) for stage in stages})


def check_weights(faces: Stage, weights: Path) -> None:
    """Refuse a finished dataset if a weight file of its generator was replaced since the dataset was made.

    A fingerprint holds the names of weight files, not their digests, so that a machine without the weights can train on
    the faces. Files that are absent are therefore not checked.

    Args:
        faces: The stage that made the dataset.
        weights: Folder of downloaded weights.

    Raises:
        InputError: If the SHA-256 of a file is not the one in the dataset's card.
    """
    if not faces.is_finished:
        return
    for name, provenance in read_card(faces.directory, DatasetCard).weights.items():
        path = weight_path(name, weights)
        if path.exists() and (now := remembered_sha256(path)) != provenance.sha256:
            raise InputError(
                f"{faces.directory} was made with another {path} (SHA-256 {provenance.sha256[:12]}, now {now[:12]}); "
                "delete that folder to make the faces again, or put the old file back"
            )


@contextmanager
def claim(stage: Stage) -> Iterator[bool]:
    """Lock a stage's folder for the block, and yield whether the stage still has to run.

    If another run holds the folder, this one waits for it; the other run may then have finished the stage. Under
    torchrun, rank 0 holds the folder for all processes, and the others wait for rank 0. Temporary files that killed
    runs left in the folder are removed.

    Raises:
        InputError: If the folder cannot be written.
    """
    rank, world_size, _ = process_rank()
    holder = stage.directory / _HOLDER_NAME
    if rank == 0:
        with stage_lock(stage.directory, waits=True):
            remove_abandoned(stage.directory, also_of_other_machines=True)
            try:
                if world_size > 1:
                    write_text(holder, launch_id())
                yield not stage.is_finished
            finally:
                holder.unlink(missing_ok=True)
        return
    while not stage.is_finished and _read_holder(holder) != launch_id():
        time.sleep(_POLL_SECONDS)
    yield not stage.is_finished


@contextmanager
def stage_lock(directory: Path, *, waits: bool = False) -> Iterator[None]:
    """Lock a stage's folder for the block; the lock ends with the process, however it ends.

    Under torchrun the process of rank 0 holds the lock for all.

    Args:
        directory: The folder; it is created if it is missing.
        waits: Whether to wait for another run that holds the folder, or to refuse.

    Raises:
        InputError: If another run holds the folder and ``waits`` is false, or if the folder cannot be written.
    """
    lock = FileLock(directory / ".lock")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if process_rank()[0] == 0:
            _acquire(lock, directory, waits=waits)
    except OSError as error:
        reason = DISK_ERRORS.get(error.errno or 0, error.strerror)
        raise InputError(f"{directory} cannot be written: {reason}; set RUNS to a folder that can") from None
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, directory: Path, *, waits: bool) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not waits:
            raise InputError(f"{directory} is in use by another run; wait for it or choose another RUNS") from None
        note(f"waiting for another run, which works in {directory}")
        lock.acquire(poll_interval=_POLL_SECONDS)


def _read_holder(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
