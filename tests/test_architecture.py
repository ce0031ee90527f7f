"""What keeps the house in order: imports point one way, flags are frozen, one module per heavy library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

import evaluate

MAY_IMPORT = {
    "bench": set(),
    "generate": {"bench", "fr_train"},
    "fr_train": {"bench"},
    "evaluate": {"bench", "fr_train"},
}
MODULES = [p for package in MAY_IMPORT for p in sorted((ROOT / package).rglob("*.py"))]
STAGE_FLAGS = ["--config", "--device", "--help", "--runs", "--scale", "--seed", "--test-sets", "--weights"]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.name != "__main__.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    imported = {name.split(".")[0] for name in imports_of(path)}
    wrong = (imported & MAY_IMPORT.keys()) - MAY_IMPORT[package] - {package}
    assert not wrong, f"{package} may import {MAY_IMPORT[package] or 'nothing of ours'}, but imports {wrong}"
    ours = {name for name in imports_of(path) if name.startswith("fr_train.")}
    if package in {"generate", "evaluate"}:
        assert ours <= {"fr_train.checkpoint"}, f"{package} may use fr_train.checkpoint alone, but imports {ours}"


@pytest.mark.parametrize(
    ("library", "home"), [("lmdb", "bench/faces/lmdb_file.py"), ("mlflow", "bench/runs/tracking.py")]
)
def test_one_module_per_heavy_library(library, home):
    homes = {str(p.relative_to(ROOT)) for p in MODULES if library in {n.split(".")[0] for n in imports_of(p)}}
    assert homes == {home}


def test_evaluate_is_ours_and_not_the_pypi_package():
    assert Path(evaluate.__file__).parent == ROOT / "evaluate"


@pytest.mark.parametrize("program", ["generate", "fr_train", "evaluate", "bench run", "bench plan"])
def test_flags_are_frozen_and_help_is_quick(program):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *program.split(), "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    flags = {word.strip("[],=") for word in done.stdout.split() if word.startswith(("--", "[--"))}
    assert set(STAGE_FLAGS) <= flags | {"--help"}
    heavy = {line.split("|")[-1].strip() for line in done.stderr.splitlines()} & {"torch", "mlflow", "pandas", "scipy"}
    assert not heavy, f"--help imports {heavy}"
