"""Runs below a common parent: floors, and the points of a sweep. In MLflow's list such runs fold into one line."""

import re
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from bench.runs.tracking.addresses import error_reason, shown_uri
from bench.runs.tracking.notes import read_note
from bench.runs.tracking.page import below_view, page_address, view_tag
from bench.runs.tracking.store import PARENT_TAG, Store, connect

FLOORS = "floors"
"""Name of the parent of all results of networks that learned nothing."""


def set_parent(
    directories: Sequence[Path], parent: str, runs: Path, *, settings: Sequence[str] = (), about: str = ""
) -> str | None:
    """Put the runs of results below a parent run, which is created if it is missing. Call it after ``sync``.

    A run has one parent: a result of two sweeps stays under the first. A tag with the parent's name, such as
    ``suite.sweep-NAME``, marks the runs of each. The description of the parent links to a view of these runs alone.

    Args:
        directories: Folders of the results, or of other cards that have a run.
        parent: Name of the parent, such as ``sweep NAME``; runs of the same name share one parent.
        runs: Folder of all runs.
        settings: Settings that the runs differ in, such as ``generator.num_identities``. The view draws them against
            the mean accuracy, as parallel coordinates.
        about: First sentence of the parent's description.

    Returns:
        The reason (one line) if MLflow could not be reached or lacks one of the runs, else None.
    """
    try:
        with FileLock(runs / ".mlflow.lock"):
            store = connect(runs)
            notes = [read_note(directory, runs) for directory in directories]
            run_ids = [note.run_id for note in notes if note and store.is_active(note.run_id)]
            parent_id = find_parent(store, parent)
            for run_id in run_ids:
                store.client.set_tag(run_id, f"suite.{_key(parent)}", "yes")
                if not _has_parent(store, run_id):
                    store.client.set_tag(run_id, PARENT_TAG, parent_id)
            _share_view(store, parent, parent_id, settings, about)
    except Exception as error:  # MLflow, its database and the network raise anything; none of it may end a sweep
        return f"MLflow at {shown_uri(runs)} did not put runs below {parent} ({error_reason(error, runs)})"
    if len(run_ids) < len(directories):
        return f"MLflow at {shown_uri(runs)} lacks {len(directories) - len(run_ids)} of {len(directories)} runs"
    return None


def find_parent(store: Store, name: str, *, start_ms: int | None = None) -> str:
    """Id of the parent run of this name, which is created if it is missing, as if it had started at ``start_ms``."""
    found = store.find_run(suite__parent=name)
    if found is not None:
        return found.info.run_id
    run_id = store.create_run(name, {"suite.parent": name, "suite.kind": "parent"}, start_ms=start_ms)
    store.client.set_terminated(run_id)
    return run_id


def _has_parent(store: Store, run_id: str) -> bool:
    parent_id = store.client.get_run(run_id).data.tags.get(PARENT_TAG)
    return parent_id is not None and store.is_active(parent_id)


def _key(parent: str) -> str:
    """Name of a parent in tags and addresses, such as ``sweep-size``."""
    return re.sub(r"[^a-z0-9]+", "-", parent.lower()).strip("-")


def _share_view(store: Store, parent: str, parent_id: str, settings: Sequence[str], about: str) -> None:
    """Keep a view of the runs below a parent, and link to it in the parent's description."""
    key = _key(parent)
    name, value = view_tag(key, below_view(parent_id, settings))
    store.client.set_experiment_tag(store.experiment_id, name, value)
    link = page_address("", store.experiment_id, key).lstrip("/")
    store.client.set_tag(parent_id, "mlflow.note.content", f"{about} [Charts of these runs alone]({link})".strip())
