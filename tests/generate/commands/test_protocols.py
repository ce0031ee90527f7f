"""python -m generate protocols: which protocols it writes, and what two processes at once do."""

import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT

from bench.errors import InputError
from bench.runs.inputs import rendered_protocol_path
from generate.__main__ import main
from generate.render.protocols import write as module

NAMES = ["render_lfw", "render_cfp_fp", "render_agedb_30", "render_calfw", "render_cplfw"]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run the command with a rendering that only leaves a file; returns the printed lines."""

    def write(name, directory):
        (directory / name).mkdir(parents=True)
        return directory / name

    monkeypatch.setattr(module, "write_protocol", write)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["generate", "protocols", *words, "--runs", str(tmp_path)])
        assert main() == 0
        return capsys.readouterr().out.splitlines()

    return run


def folder(tmp_path, name):
    return rendered_protocol_path(name, tmp_path)


def test_the_protocols_of_a_benchmark_are_written_where_they_are_looked_for(command, tmp_path):
    assert command("--scale", "smoke") == [f"protocols: {folder(tmp_path, name)}" for name in NAMES]
    assert command() == [f"protocols: {folder(tmp_path, name)}" for name in NAMES]  # smoke is the default
    protocols = folder(tmp_path, "render_lfw").parent
    assert module.rendered_protocol("render_lfw", protocols) == folder(tmp_path, "render_lfw")


def test_names_and_lists_of_names(command, tmp_path):
    assert command("render_calfw") == [f"protocols: {folder(tmp_path, 'render_calfw')}"]
    assert len(command("rendered")) == 5


def test_a_benchmark_on_real_test_sets_needs_none(command, tmp_path):
    assert command("--scale", "20k") == ["protocols: benchmark 20k uses no rendered protocol, nothing to write"]
    assert not (tmp_path / "protocols").exists()


def test_what_is_refused(command, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="protocols render_lfw and --scale smoke were given; give one of the two"):
        command("render_lfw", "--scale", "smoke")
    monkeypatch.undo()
    with pytest.raises(InputError, match="protocol render_lwf is not a rendered one; did you mean render_lfw"):
        module.rendered_protocol("render_lwf", tmp_path)


RENDER_EIGHT_PAIRS = """
import sys, time
from pathlib import Path
from generate.render.protocols import pairs as protocols
from generate.render.protocols.write import rendered_protocol

number, ready, directory = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
pairs = protocols.draw_pairs("render_lfw")[:8]
protocols.draw_pairs = lambda name: pairs
(ready / number).touch()
while len(list(ready.iterdir())) < 2:
    time.sleep(0.01)
print(rendered_protocol("render_lfw", directory))
"""


@pytest.mark.slow
def test_two_processes_at_once_render_it_once_and_whole(tmp_path):
    ready, target = tmp_path / "ready", folder(tmp_path, "render_lfw")
    ready.mkdir()
    command = [sys.executable, "-c", RENDER_EIGHT_PAIRS]
    processes = [
        subprocess.Popen([*command, str(number), ready, target.parent], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    for process in processes:
        assert process.communicate(timeout=120)[0] == f"{target}\n"
        assert process.returncode == 0
    assert np.load(target / "render_lfw.npy").shape == (16, 3, 112, 112)
    assert (target / "issame.txt").read_text().count("\n") == 8
