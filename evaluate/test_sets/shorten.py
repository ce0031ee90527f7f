"""A test set of pairs -> a short one of its first genuine and impostor pairs, for a rehearsal.

The whole set is read first, so a set that is damaged is found.
"""

from pathlib import Path

import numpy as np

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from evaluate.layouts.packed import write_bin
from evaluate.protocol import Protocol
from evaluate.test_sets.open import open_test_set

_NUM_FOLDS = 10


def shorten(path: Path, out: Path, num_pairs: int) -> str:
    """Read a test set and write its first pairs, half of them genuine, as ``.bin``; what was done, in one line.

    A set without pairs (templates of IJB, people of known groups, searches) is read, but has no short form.

    Args:
        path: The test set.
        out: File to write.
        num_pairs: Number of pairs; fewer are written if the set has fewer of a kind.

    Raises:
        InputError: If the set is missing or damaged, or the pairs are fewer than its ten folds need.
    """
    protocol = open_test_set(path)
    if not isinstance(protocol, Protocol):
        return f"{path}: {len(protocol.faces):,} images read, not shortened, since it holds no pairs"
    halves = [np.flatnonzero(protocol.is_genuine == kind)[: num_pairs // 2] for kind in (True, False)]
    chosen = np.sort(np.concatenate(halves))
    if len(chosen) < _NUM_FOLDS:
        raise InputError(f"{path} gives {len(chosen)} pairs, and ten folds need at least 10; raise --pairs")
    images = [encode_jpeg(protocol.faces[int(position)]) for position in protocol.pairs[chosen].ravel()]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bin(out, images, protocol.is_genuine[chosen])
    return f"{out}: {len(chosen)} of {protocol.num_pairs:,} pairs of {path}"
