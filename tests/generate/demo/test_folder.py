"""Which benchmarks have a demo page, and the command that the page prints."""

import re

import pytest
from paths import ROOT

from bench.config.benchmarks import load_benchmark
from bench.errors import InputError
from generate.__main__ import main
from generate.demo import folder
from generate.demo.folder import make_demo


@pytest.mark.parametrize("name", ["smoke_reference", "cfp_small"])
def test_benchmarks_without_a_generator_of_their_own_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"benchmark {name} draws no faces with a Vec2Face generator; give --scale"):
        make_demo(tmp_path / "demo", load_benchmark(name), weights=tmp_path, command="generate faces")
    assert not (tmp_path / "demo").exists()


def test_missing_weights_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"is missing; run .* generate fetch"):
        make_demo(tmp_path / "demo", load_benchmark("mini"), weights=tmp_path, command="generate faces")
    assert not (tmp_path / "demo").exists()


def test_the_printed_command_names_what_is_not_the_default(tmp_path, monkeypatch, capsys):
    commands = []

    def note(directory, benchmark, *, weights, command):
        commands.append((directory, command))
        return True

    monkeypatch.setattr(folder, "make_demo", note)
    config = tmp_path / "my benchmarks.yaml"
    config.write_text((ROOT / "benchmarks.yaml").read_text())
    for flags in ([], ["--config", str(config), "--weights", "other", "--out", "page"]):
        monkeypatch.setattr("sys.argv", ["generate", "demo", *flags])
        main()
    assert [(str(path), command) for path, command in commands] == [
        ("runs/demo/smoke", "generate faces --scale smoke"),
        ("page", f"generate faces --scale smoke --config '{config}' --weights other"),
    ]
    assert re.search(
        r"http\.server --bind 127\.0\.0\.1 --directory runs/demo/smoke, then open", capsys.readouterr().out
    )


def test_the_page_names_no_other_host():
    """Nothing that the page loads, and no link, leads away from its folder."""
    for path in folder.PAGE_PATH.iterdir():
        hosts = set(re.findall(r"https?://([^/\s\"'`)]+)", path.read_text())) - {"localhost:8000."}
        assert not hosts, path
