"""Code of another project is run from a clone, and leaves nothing behind in this process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import InputError
from bench.speed.official import official_module, official_name


def make_clone(folder: Path, text: str) -> Path:
    """A folder with the module ``tools.loader``, which reads a settings file by a relative path."""
    (folder / "tools").mkdir(parents=True)
    (folder / "settings.txt").write_text(folder.name)
    (folder / "tools" / "loader.py").write_text(text)
    return folder


def test_a_module_is_imported_in_its_clone(tmp_path):
    text = "from pathlib import Path\nNAME = Path('settings.txt').read_text()\n"
    before, path = Path.cwd(), list(sys.path)
    for name in ("first", "second"):
        with official_module(make_clone(tmp_path / name, text), "tools.loader") as module:
            assert name == module.NAME
    assert Path.cwd() == before and sys.path == path
    assert not {"tools", "tools.loader"} & sys.modules.keys()


def test_a_folder_that_is_no_clone_is_refused(tmp_path):
    message = re.escape("holds no tools/loader.py; give a clone")
    with pytest.raises(InputError, match=message), official_module(tmp_path, "tools.loader"):
        pass


def test_a_package_that_is_missing_is_named(tmp_path):
    clone = make_clone(tmp_path / "clone", "import surely_not_installed")
    message = r"loader\.py imports surely_not_installed, which is not installed"
    with pytest.raises(InputError, match=message), official_module(clone, "tools.loader"):
        pass


def test_the_name_holds_the_commit(tmp_path):
    clone = make_clone(tmp_path / "Their-Trainer", "")
    assert official_name(clone) == "Their-Trainer (no commit)"
    me = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], [*me, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(clone), *command], check=True, env=os.environ)
    commit = subprocess.run(["git", "-C", str(clone), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert official_name(clone) == f"Their-Trainer {commit.stdout[:12]}"
    assert official_name(clone / "tools") == "tools (no commit)"
    subprocess.run(["git", "-C", str(clone), "add", "settings.txt"], check=True)
    assert official_name(clone) == f"Their-Trainer {commit.stdout[:12]} with changes"
