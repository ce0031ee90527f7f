"""README, CONTRIBUTING and docs: every command parses, every link and path exists, every example runs.

A command line stands in a fenced block or between backticks and starts with ``make`` or ``.venv/bin/``. It is parsed by
the very parser that the command would use.
"""

import argparse
import doctest
import importlib
import json
import re
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from statistics import mean, stdev

import pytest
from paths import REPORTS, ROOT

from bench.config.benchmarks import load_benchmarks

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = ".venv/bin/python -m"
MAKEFILE = (ROOT / "Makefile").read_text()
PACKAGES = ("bench", "generate", "fr_train", "evaluate")


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, *languages):
    """Contents of the fenced blocks in these languages."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S)
    return [content for language, content in fences if language in languages]


def prose(page):
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


def inline_code(page):
    return re.findall(r"`([^`\n]+)`", prose(page))


@dataclass(frozen=True)
class Command:
    """One printed command line and its words, without comment, ``srun`` and ``export``."""

    page: str
    line: str
    words: tuple[str, ...]


def commands():
    found = []
    for page in PAGES:
        lines = [line for block in blocks(page, "", "bash") for line in block.splitlines()]
        lines += [code for code in inline_code(page) if code.startswith(("make ", ".venv/bin/"))]
        for line in lines:
            words = [word for word in shlex.split(line, comments=True) if word != "..." and not word.endswith("=...")]
            words = words[1:] if words[:1] in (["srun"], ["export"]) else words
            if words:
                found.append(Command(name_of(page), line.strip(), tuple(words)))
    return found


COMMANDS = commands()
MAKE = [command for command in COMMANDS if command.words[0] == "make"]
MODULES = [command for command in COMMANDS if command.words[0].startswith(".venv/bin/") and "-m" in command.words[:-1]]


def shown(command):
    return f"{command.page}: {command.line}"


@cache
def parser_of(module):
    """The parser of ``python -m MODULE``, caught at the moment when ``main`` parses."""
    parsers = []

    def catch(self, *arguments, **keywords):
        parsers.append(self)
        raise SystemExit

    main = importlib.import_module(f"{module}.__main__").main
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", catch)
        with pytest.raises(SystemExit):
            main()
    return parsers[0]


@cache
def torchrun_parser():
    from torch.distributed.run import get_args_parser

    return get_args_parser()


def subcommands(module):
    for action in parser_of(module)._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices)
    return []


def makefile_variables(words):
    return [word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word)]


def scales():
    """Names of benchmarks.yaml, and those that the YAML blocks of the pages define."""
    entries = "\n".join(block for page in PAGES for block in blocks(page, "yaml"))
    return {*re.findall(r"^  (\w+):$", entries, re.M), *load_benchmarks()}


def test_there_are_commands():
    assert len(MAKE) > 20
    assert len(MODULES) > 40


@pytest.mark.parametrize("command", MAKE, ids=shown)
def test_make_targets_and_variables_exist(command):
    targets = [word for word in command.words[1:] if "=" not in word]
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.M), f"no target {target}"
    for name, value in makefile_variables(command.words):
        assert re.search(rf"\$[({{]{name}[)}}]|^export .*\b{name}\b", MAKEFILE, re.M), f"no variable {name}"
        if name == "SCALE":
            assert value in scales() | {"NAME"}


def test_make_expands_what_is_printed():
    """All printed make lines at once, dry: nothing runs, everything expands."""
    lines = sorted({shlex.join(command.words) for command in MAKE if len(command.words) > 1})
    script = "\n".join(line.replace("make ", "make -n ", 1) + " >/dev/null" for line in lines)
    subprocess.run(["bash", "-euc", script], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("command", MODULES, ids=shown)
def test_python_commands_parse(command, capsys):
    start = command.words.index("-m")
    module, arguments = command.words[start + 1], list(command.words[start + 2 :])
    if module == "PACKAGE":
        return
    try:
        parser_of(module).parse_args(arguments)
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


LAUNCHERS = [
    (command, value)
    for command in COMMANDS
    for name, value in [*makefile_variables(command.words), ["torchrun", shlex.join(command.words)]]
    if name in ("LAUNCH", "torchrun") and value.startswith(".venv/bin/torchrun")
]


@pytest.mark.parametrize("command, launcher", LAUNCHERS, ids=[shown(command) for command, _ in LAUNCHERS])
def test_launchers_parse(command, launcher, capsys):
    words = shlex.split(launcher)[1:]
    options = words[: words.index("-m")] if "-m" in words else words
    try:
        torchrun_parser().parse_args([*options, "-m", "generate"])
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


def test_scripts_exist():
    scripts = [word for command in COMMANDS for word in command.words if word.endswith(".py")]
    assert scripts
    assert all((ROOT / script).exists() for script in scripts)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_one_form_of_python_commands(page):
    for before in re.findall(r"(.{0,20})python -m", page.read_text()):
        assert before.endswith(".venv/bin/"), f"write {PYTHON}, not {before}python -m"


def test_commands_page_is_complete():
    page = (ROOT / "docs" / "commands.md").read_text()
    for target in re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.M):
        assert target == "help" or f"`make {target}" in page, f"make {target} is missing"
    for name in re.findall(r"^([A-Z_]+)\s*\?=", MAKEFILE, re.M):
        assert f"`{name}`" in page, f"variable {name} is missing"
    for package in PACKAGES:
        for name in subcommands(package):
            assert re.search(rf"`(?:{package} )?{name}`|-m {package} {name}\b", page), f"{package} {name} is missing"
    for name in subcommands("bench.speed"):
        assert f"{PYTHON} bench.speed {name}" in page


def test_yaml_blocks_fit_the_schema(tmp_path):
    """All blocks are entries of ``benchmarks:``, which is the last section of the file."""
    entries = [block for page in PAGES for block in blocks(page, "yaml")]
    assert entries
    path = tmp_path / "benchmarks.yaml"
    path.write_text((ROOT / "benchmarks.yaml").read_text().rstrip() + "\n\n" + "\n".join(entries))
    assert {"mine"} <= set(load_benchmarks(path)) - set(load_benchmarks())


@cache
def anchors(page):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        assert file.exists(), f"{link} does not exist"
        assert not anchor or anchor in anchors(file), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_sections_that_are_cited_exist(page):
    for target, sections in re.findall(r"\[[^\]]*\]\((\w+\.md)\),\s+sections? ([\d., and]*\d)", prose(page)):
        for section in re.findall(r"[\d.]*\d", sections):
            assert has_section(page.parent / target, section), f"{target} has no section {section}"


def test_sections_that_the_code_cites_exist():
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for target, sections in re.findall(r"docs/(\w+\.md),\s+sections? ([\d., and]*\d)", file.read_text()):
                for section in re.findall(r"[\d.]*\d", sections):
                    assert has_section(ROOT / "docs" / target, section), f"{file}: {target} has no section {section}"


def has_section(page, number):
    return re.search(rf"^#+ {re.escape(number)}\.? ", page.read_text(), re.M) is not None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_in_the_repository_exist(page):
    for code in inline_code(page):
        if re.fullmatch(rf"(?:{'|'.join(PACKAGES)}|tests|reports|docs)(?:/[\w.-]+)+/?", code):
            assert (ROOT / code).exists(), f"{code} does not exist"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_that_are_named_exist(page):
    """Names in capitals of ``bench/runs`` and the like that pages tell to change."""
    source = "\n".join(file.read_text() for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    for code in inline_code(page):
        if re.fullmatch(r"_?[A-Z]+(?:_[A-Z]+)+", code):
            assert code in source + MAKEFILE or code.startswith(("HF_", "OMP_", "MLFLOW_", "GLOO_", "NCCL_")), (
                f"{code} is gone"
            )


def test_readme_fits_on_two_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_readme_results_are_those_of_the_cards():
    table = re.search(r"<!-- results -->(.*)<!-- /results -->", (ROOT / "README.md").read_text(), re.S).group(1)
    known = {f"{100 * value:.2f}" for value in card_values()}
    numbers = re.findall(r"\b\d+\.\d\d\b", table)
    assert len(numbers) > 20
    assert set(numbers) <= known


def card_values():
    """Accuracies and standard errors of all committed cards; over the seeds their means and deviations."""
    by_seed, errors = {}, {}
    for path in sorted((REPORTS / "results").glob("*.json")):
        card = json.loads(path.read_text())
        rows = {"": (card["mean_accuracy"], card["mean_standard_error"])}
        rows |= {name: (each["accuracy"], each["standard_error"]) for name, each in card["protocols"].items()}
        for name, (accuracy, error) in rows.items():
            by_seed.setdefault((card["scale"], card["name"], name), []).append(accuracy)
            errors.setdefault((card["scale"], card["name"], name), []).append(error)
            yield from (accuracy, error)
    for values in by_seed.values():
        yield mean(values)
        yield stdev(values) if len(values) > 1 else 0.0
    yield from map(mean, errors.values())


def test_python_page_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    page = ROOT / "docs" / "python.md"
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks(page, "python")), {}, page.name, str(page), 0)
    assert len(examples.examples) > 20
    results = doctest.DocTestRunner().run(examples)
    assert results.failed == 0
