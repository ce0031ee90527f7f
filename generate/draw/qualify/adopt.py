"""Shards of a dataset whose number of identities was changed: they are used again, not made again.

A dataset of another ``num_identities`` has a folder of its own. Its shards are the same as long as the settings that
decide what a shard holds are, and so are the vectors that the shard begins with.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.files import atomic_path, read_json_object
from bench.machine.progress import note

PLAN_NAME = "plan.json"
_FREE = ("num_identities", "spare_share", "max_candidates")
"""Settings that decide how many shards there are, and not what one holds."""


def parts_alike(parts: Path, plan: dict[str, Any]) -> list[Path]:
    """Folders of shards of datasets beside this one, whose plan differs in the number of identities at most.

    Args:
        parts: Folder of the shards of this dataset.
        plan: Its plan. One without digests of weights has none alike, as its shards may come from other networks.
    """
    alike: list[Path] = []
    if not plan["digests"]:
        return alike
    for path in sorted(parts.parent.parent.glob(f"*/{parts.name}/{PLAN_NAME}")):
        if path.parent == parts:
            continue
        try:
            if _bound(read_json_object(path)) == _bound(plan):
                alike.append(path.parent)
        except (InputError, FileNotFoundError):  # a broken plan, or one that is just being removed
            continue
    return alike


def adopt(path: Path, folders: list[Path], is_same: Callable[[Path], bool]) -> bool:
    """Copy a shard from the first folder that has the same one; whether there was one.

    Args:
        path: The shard to make.
        folders: Folders of shards to look into, see ``parts_alike``.
        is_same: Whether the shard of this name in a folder is the one to make.
    """
    for folder in folders:
        other = folder / path.name
        try:
            if not other.exists() or not is_same(folder):
                continue
            with atomic_path(path) as temporary:
                shutil.copyfile(other, temporary)
        except (OSError, ValueError, KeyError):  # removed or broken meanwhile; the shard is made instead
            continue
        note(f"{path.name}: taken over from {folder}")
        return True
    return False


def _bound(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan without what may differ."""
    bound = {name: value for name, value in plan.items() if name not in _FREE}
    if isinstance(bound.get("quota"), dict):
        bound["quota"] = {name: value for name, value in bound["quota"].items() if name != "max_tried"}
    return bound
