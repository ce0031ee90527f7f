"""Copy finished shards from a dataset that differs from this one only in its number of identities.

A dataset with another ``num_identities`` has its own folder. A shard is equal in both datasets if all settings that
decide its content are equal, and so are the identity vectors that it is made from.
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
"""Settings that change the number of shards, not the content of a shard."""


def parts_alike(parts: Path, plan: dict[str, Any]) -> list[Path]:
    """Folders of shards of the datasets beside this one whose plans differ in the number of identities at most.

    Args:
        parts: Folder of the shards of this dataset.
        plan: Its plan. Without digests of weights the answer is empty, because the networks may differ.
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
    """Copy a shard from the first folder that holds the same one; returns whether a folder did.

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
    """A plan without the settings that may differ: ``_FREE`` and ``quota.max_tried``."""
    bound = {name: value for name, value in plan.items() if name not in _FREE}
    if isinstance(bound.get("quota"), dict):
        bound["quota"] = {name: value for name, value in bound["quota"].items() if name != "max_tried"}
    return bound
