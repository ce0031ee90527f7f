"""SHA-256 of a dataset's or a test set's content, wherever it lies."""

import hashlib
import json
from pathlib import Path

from bench.faces.mixture.files import SELECTION_NAME, is_view, parts_of_view, place_of
from bench.machine.digests import remembered_sha256


def content_sha256(path: Path) -> str:
    """SHA-256 of a dataset's or a test set's content, wherever it lies; ``missing`` if it does not exist.

    The digest of a ``.rec`` includes its ``.idx``, which says where its records start; that of a view includes the
    content of its parts. Digests are remembered, see ``bench.machine.digests``.
    """
    if not path.exists():
        return "missing"
    if path.suffix == ".rec":
        return _digest([content_sha256(path.with_suffix(".idx")), remembered_sha256(path)])
    if is_view(path):
        parts = [content_sha256(place_of(path, part)) for part in parts_of_view(path).parts]
        return _digest([remembered_sha256(path / SELECTION_NAME), *parts])
    return remembered_sha256(path)


def _digest(value: list[str]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
