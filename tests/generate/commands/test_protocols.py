"""python -m generate protocols: which protocols it writes, and what two processes at once do."""

import multiprocessing

import numpy as np
import pytest

from bench.errors import InputError
from bench.runs.inputs import rendered_protocol_path
from generate.__main__ import main
from generate.render import protocols as module

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


def ask_for_a_protocol(directory, barrier, results):
    """Render eight pairs instead of 600, once every process is there."""
    pairs = module.draw_pairs("render_lfw")[:8]
    module.draw_pairs = lambda name: pairs
    barrier.wait()
    results.put(str(module.rendered_protocol("render_lfw", folder(directory, "render_lfw").parent)))


def test_two_processes_at_once_render_it_once_and_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=ask_for_a_protocol, args=(tmp_path, barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    paths = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert set(paths) == {str(folder(tmp_path, "render_lfw"))}
    assert np.load(folder(tmp_path, "render_lfw") / "render_lfw.npy").shape == (16, 3, 112, 112)
    assert (folder(tmp_path, "render_lfw") / "issame.txt").read_text().count("\n") == 8
