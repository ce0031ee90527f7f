"""A name -> the folder of a rendered test set, made once."""

from pathlib import Path

from filelock import FileLock

from bench.files import atomic_path
from generate.render.protocols.held_out import held_out_people
from generate.render.protocols.pairs import write_pairs
from generate.render.protocols.people import write_gallery, write_groups

_WRITERS = {"render_groups": write_groups, "render_gallery": write_gallery}
"""Sets that are no pairs; all others are."""


def write_protocol(name: str, directory: str | Path) -> Path:
    """Render a test set into the folder ``directory/name``, which appears whole.

    The folder holds ``name.npy``, uint8 RGB of shape (K, 3, 112, 112), and what says who is in the K faces.

    Returns:
        The folder.

    Raises:
        InputError: If there is no such set.
    """
    held_out_people(name)
    target = Path(directory) / name
    with atomic_path(target) as temporary:
        temporary.mkdir()
        _WRITERS.get(name, write_pairs)(name, temporary)
    return target


def rendered_protocol(name: str, directory: Path) -> Path:
    """The folder ``directory / name`` of a test set, rendered if missing. Several processes may call this at once."""
    if (directory / name).exists():
        return directory / name
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / f".{name}.lock"):  # a second process waits, then finds the folder of the first
        return directory / name if (directory / name).exists() else write_protocol(name, directory)
