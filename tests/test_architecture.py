"""Who may import whom, sub-package by sub-package; how large a folder may be; flags that users rely on.

``PARTS`` is the import table: a part is a module or a sub-package, and may import itself and the parts beside its name.
``bench`` alone stands for all of bench. A module of no part fails the test: give it a line.
"""

import ast
import glob
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from paths import ROOT

import evaluate

PACKAGES = ("bench", "generate", "fr_train", "evaluate")
PARTS = {
    "bench.errors": "",
    "bench.names": "bench.errors",
    "bench.files": "bench.errors",
    "bench.markdown": "",
    "bench.onnx_input": "bench.errors",
    "bench.config": "bench.errors bench.names bench.files",
    "bench.machine": "bench.errors bench.files",
    "bench.faces": "bench.machine bench.files bench.errors",
    "bench.vectors": "bench.machine bench.files bench.errors",
    "bench.runs": "bench.config bench.machine bench.faces bench.files bench.errors bench.names bench.cli "
    "bench.markdown",
    "bench.cli": "bench.config bench.errors bench.files",
    "bench.speed": "bench.machine bench.files bench.markdown bench.errors",
    "bench.commands": "bench",
    "fr_train.networks": "bench",
    "fr_train.backbone": "bench fr_train.networks",
    "fr_train.margin": "bench",
    "fr_train.released": "bench fr_train.backbone",
    "fr_train.checkpoint": "bench fr_train.backbone fr_train.released",
    "fr_train.trainer": "bench fr_train.margin fr_train.backbone fr_train.checkpoint fr_train.networks",
    "fr_train.export": "bench fr_train.checkpoint",
    "fr_train.speed": "bench fr_train.trainer",
    "fr_train.stage": "bench fr_train.trainer",
    "fr_train.commands": "bench fr_train",
    "generate.networks": "bench fr_train.checkpoint",
    "generate.render": "bench.faces bench.machine bench.files bench.errors bench.names",
    "generate.vec2face": "bench generate.networks",
    "generate.identities": "bench",
    "generate.draw": "bench generate.vec2face generate.identities generate.networks generate.render.turned "
    "generate.hub.provenance generate.hub.catalogue",
    "generate.export": "bench generate.vec2face generate.networks",
    "generate.demo": "bench generate.export generate.draw generate.vec2face generate.identities generate.networks "
    "generate.render generate.hub.provenance",
    "generate.training": "bench generate.vec2face generate.networks generate.render",
    "generate.hub": "bench",
    "generate.speed": "bench generate.vec2face generate.identities generate.networks generate.draw fr_train.checkpoint",
    "generate.stage": "bench generate.draw generate.render",
    "generate.training.make_assets": "bench generate",
    "generate.commands": "bench generate",
    "evaluate.metrics": "bench",
    "evaluate.layouts": "bench",
    "evaluate.pages": "bench",
    "evaluate.protocol": "bench evaluate.layouts",
    "evaluate.test_sets": "bench evaluate.protocol evaluate.layouts",
    "evaluate.measure": "bench evaluate.metrics evaluate.protocol evaluate.layouts evaluate.test_sets.registry "
    "evaluate.test_sets.open fr_train.checkpoint",
    "evaluate.measure.groups.report": "bench evaluate.metrics evaluate.measure evaluate.layouts evaluate.pages",
    "evaluate.measure.identification.report": "bench evaluate.measure evaluate.layouts evaluate.pages",
    "evaluate.leaderboard": "bench evaluate.measure evaluate.metrics evaluate.test_sets.registry evaluate.pages",
    "evaluate.audit": "bench evaluate.measure.embed evaluate.metrics evaluate.protocol evaluate.layouts evaluate.pages "
    "evaluate.leaderboard.published fr_train.checkpoint",
    "evaluate.scaling": "bench evaluate.measure evaluate.pages evaluate.leaderboard.published "
    "evaluate.leaderboard.protocol_names",
    "evaluate.stage": "bench evaluate.measure fr_train.checkpoint",
    "evaluate.challenge": "bench evaluate.measure evaluate.leaderboard evaluate.layouts evaluate.protocol "
    "evaluate.test_sets evaluate.stage",
    "evaluate.measure.speed": "bench evaluate.metrics evaluate.measure evaluate.protocol evaluate.layouts "
    "fr_train.checkpoint",
    "evaluate.pyfunc": "evaluate.measure.embed",
    "evaluate.commands": "bench evaluate",
}
CROSSINGS = {
    "fr_train.__main__": "evaluate.measure.validate evaluate.test_sets.open",
    "evaluate.__main__": "generate.networks.estimators generate.render.protocols.people",
    "bench.speed.__main__": "generate fr_train evaluate",
}
"""The only modules that import from a package that their own may not, and what they import from it."""

FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
STAGE_FLAGS = {"--config", "--device", "--help", "--runs", "--scale", "--seed", "--set", "--test-sets", "--weights"}
MAX_ENTRIES = 15


def imports_of(path):
    """Names of all modules that a file imports, anywhere in it; ``from a import b`` gives a.b if that is a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES or f"{name}.__init__" in MODULES else node.module


def lies_in(module, parts):
    return any(module == part or module.startswith(f"{part}.") for part in parts)


def part_of(module):
    """The longest part that holds a module, or None."""
    return max((part for part in PARTS if lies_in(module, [part])), key=len, default=None)


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("__init__")])
def test_imports_follow_the_table(module):
    package = module.split(".")[0]
    ours = {name for name in imports_of(MODULES[module]) if name.split(".")[0] in PACKAGES}
    if module.endswith("__main__"):
        allowed = [package, "bench", *CROSSINGS.get(module, "").split()]
        wrong = {name for name in ours if not lies_in(name, allowed)}
    else:
        part = part_of(module)
        assert part, f"{module} belongs to no part of the table; give it a line"
        allowed = [part, *PARTS[part].split()]
        wrong = {name for name in ours if not lies_in(name, allowed)}
        assert not {name for name in ours if name.endswith(("__main__", ".commands"))}, "nobody imports commands"
    assert not wrong, f"{module} may import {' '.join(allowed)}, but imports {' '.join(sorted(wrong))}"


def test_no_block_reads_the_random_numbers_of_every_gpu():
    assert [str(path) for path in FILES if "fork_rng()" in path.read_text()] == []


def test_the_table_has_no_dead_lines():
    assert all(any(lies_in(module, [part]) for module in MODULES) for part in PARTS)
    assert set(CROSSINGS) <= MODULES.keys()


def test_no_circle_of_modules():
    graph = {name: {other for other in imports_at_the_top(path) if other in MODULES} for name, path in MODULES.items()}
    done, path = set(), []

    def visit(name):
        assert name not in path, f"circle of imports: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            path.append(name)
            for other in sorted(graph[name]):
                visit(other)
            path.pop()
            done.add(name)

    for name in graph:
        visit(name)


def imports_at_the_top(path):
    """As ``imports_of``, without the imports inside functions."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def tracked_files(*folders):
    """Files of the repository, also new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def test_no_folder_is_too_full():
    entries = {}
    for line in tracked_files(*PACKAGES, "tests"):
        path = Path(line)
        if "golden" not in path.parts and "assets" not in path.parts and (ROOT / path).exists():
            for child, folder in zip((path, *path.parents), path.parents, strict=False):
                entries.setdefault(str(folder), set()).add(child.name)
    full = {folder: len(names) for folder, names in entries.items() if len(names) > MAX_ENTRIES}
    assert not full, f"more than {MAX_ENTRIES} entries: {full}"


def test_an_installed_package_has_its_files():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    wanted = {ROOT / line for line in tracked_files(*PACKAGES) if not line.endswith(".py")}
    found = {
        Path(name)
        for package, globs in patterns.items()
        for pattern in globs
        for name in glob.glob(str(ROOT / package / pattern), recursive=True)  # noqa: PTH207 (as setuptools does)
    }
    assert wanted <= found, wanted - found


@pytest.mark.slow
@pytest.mark.parametrize(("library", "home"), [("lmdb", "bench.faces.lmdb_file"), ("mlflow", "bench.runs.tracking")])
def test_one_part_per_heavy_library(library, home):
    homes = {name for name, path in MODULES.items() if library in {part.split(".")[0] for part in imports_of(path)}}
    assert homes
    assert all(lies_in(name, [home]) for name in homes), homes


def test_evaluate_is_ours_and_not_the_pypi_package():
    assert Path(evaluate.__file__).parent == ROOT / "evaluate"


@pytest.mark.parametrize("program", ["generate", "fr_train", "evaluate", "bench run", "bench plan"])
def test_help_names_the_stage_flags_and_is_quick(program):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *program.split(), "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    flags = {word.strip("[],=") for word in done.stdout.split() if word.startswith(("--", "[--"))}
    assert flags | {"--help"} >= STAGE_FLAGS
    heavy = {line.split("|")[-1].strip() for line in done.stderr.splitlines()} & {"torch", "mlflow", "pandas", "scipy"}
    assert not heavy, f"--help imports {heavy}"
