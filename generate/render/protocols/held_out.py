"""The people of each rendered test set, whom no dataset can show, and the array of their faces.

Each set has a range of identity seeds of its own. The order of ``NAMES`` decides which, so that a new set comes last.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.errors import InputError
from bench.faces.face import decode_image
from bench.machine.progress import progress
from bench.names import nearest
from generate.render.dataset import Job, render_jpegs
from generate.render.face import PROTOCOL_IDENTITIES

NAMES = (
    "render_lfw",
    "render_cfp_fp",
    "render_agedb_30",
    "render_calfw",
    "render_cplfw",
    "render_groups",
    "render_gallery",
)
_IDENTITIES_PER_SET = 100_000


def held_out_people(name: str) -> tuple[Iterator[int], int]:
    """Identity seeds of a set, ascending, and its number among ``NAMES``.

    Raises:
        InputError: If there is no such set.
    """
    if name not in NAMES:
        raise InputError(f"protocol {name} is not a rendered one; {nearest(name, NAMES)}")
    number = NAMES.index(name)
    first = PROTOCOL_IDENTITIES + number * _IDENTITIES_PER_SET
    return iter(range(first, first + _IDENTITIES_PER_SET)), number


def write_faces(jobs: Sequence[Job], folder: Path, name: str) -> None:
    """Render faces into ``folder/name.npy``, uint8 RGB of shape (K, 3, 112, 112), K the number of jobs.

    The faces are compressed as JPEG first, like those of a dataset.
    """
    faces = np.empty((len(jobs), 3, 112, 112), np.uint8)
    for index, encoded in enumerate(progress(render_jpegs(jobs), desc=name, total=len(jobs))):
        faces[index] = decode_image(encoded).transpose(2, 0, 1)
    np.save(folder / f"{name}.npy", faces)
