"""Run the code of another project from a clone of it, so that a speed table compares with the original.

The clone is code that the user chose to run. Nothing of it is part of this suite; its commit stands on the page.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from bench.errors import InputError
from bench.machine.facts import git_state


def official_name(folder: Path) -> str:
    """Name of the clone for a page: its folder and commit, such as ``Vec2Face 9d9fa8c50bab``."""
    state = git_state(folder)
    if not state.commit or not (folder / ".git").exists():  # git would take the commit of a checkout around the folder
        return f"{folder.resolve().name} (no commit)"
    return f"{folder.resolve().name} {state.commit[:12]}" + (" with changes" if state.dirty else "")


@contextmanager
def official_module(folder: Path, name: str) -> Iterator[ModuleType]:
    """Import a module of a clone, with the clone as the working directory while the block runs.

    Args:
        folder: Root of the clone.
        name: Dotted name of the module below it.

    Raises:
        InputError: The clone has no such module, or a package that the module imports is not installed.
    """
    root, before = folder.resolve(), Path.cwd()
    file = root / (name.replace(".", "/") + ".py")
    if not file.is_file():
        raise InputError(f"{folder} holds no {file.relative_to(root)}; give a clone of the official repository")
    own, others = {entry.stem for entry in root.iterdir()}, set(sys.modules)
    os.chdir(root)
    sys.path.insert(0, str(root))
    try:
        yield importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f"{file} imports {error.name}, which is not installed; install it beside the suite") from None
    finally:
        for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] in own and loaded not in others]:
            del sys.modules[loaded]  # so that another clone's module of that name is not mistaken for it
        sys.path.remove(str(root))
        os.chdir(before)
