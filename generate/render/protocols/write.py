"""A name -> the folder of a rendered test set, made once.

Under torchrun the processes share the rendering, and all of them must call this. Process 0 writes the folder, and holds
the lock by which a second launch waits for the first.
"""

import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from bench.faces.face import decode_image
from bench.files import atomic_path, wait_for_files
from bench.machine.device import process_rank
from generate.render.dataset import read_shards, render_shards
from generate.render.protocols.held_out import held_out_people
from generate.render.protocols.pairs import draw_pair_set
from generate.render.protocols.people import draw_gallery_set, draw_group_set

_DRAWINGS = {"render_groups": draw_group_set, "render_gallery": draw_gallery_set}
"""Test sets that are not made of pairs -> how to draw them. ``draw_pair_set`` draws all others."""


def write_protocol(name: str, directory: str | Path) -> Path:
    """Render a test set into the folder ``directory/name``, which appears whole.

    The folder holds ``name.npy``, uint8 RGB of shape (K, 3, 112, 112), and what says who is in the K faces. The faces
    are compressed as JPEG first, like those of a dataset.

    Returns:
        The folder; in all processes once it exists.

    Raises:
        InputError: If there is no such set.
    """
    held_out_people(name)
    target = Path(directory) / name
    parts = target.with_name(f".{name}.parts")
    drawn = _DRAWINGS.get(name, draw_pair_set)(name)
    is_first = process_rank()[0] == 0
    try:
        shards = render_shards(drawn.jobs, parts, is_over=target.exists)
    except Exception:
        if is_first or not target.exists():
            raise
        return target  # another launch has finished the set meanwhile and removed the shards
    if is_first:
        with atomic_path(target) as temporary:
            temporary.mkdir()
            np.save(temporary / f"{name}.npy", _read_faces(shards, len(drawn.jobs)))
            (temporary / drawn.list_name).write_text("".join(f"{line}\n" for line in drawn.lines))
    wait_for_files([target])
    shutil.rmtree(parts, ignore_errors=True)
    return target


def rendered_protocol(name: str, directory: Path) -> Path:
    """The folder ``directory / name`` of a test set, rendered if missing. Several launches may call this at once."""
    target = directory / name
    if target.exists():
        return target
    directory.mkdir(parents=True, exist_ok=True)
    is_first = process_rank()[0] == 0
    with FileLock(directory / f".{name}.lock") if is_first else nullcontext():
        return target if target.exists() else write_protocol(name, directory)


def _read_faces(shards: list[Path], num_faces: int) -> NDArray[np.uint8]:
    faces = np.empty((num_faces, 3, 112, 112), np.uint8)
    for index, encoded in enumerate(read_shards(shards)):
        faces[index] = decode_image(encoded).transpose(2, 0, 1)
    return faces
