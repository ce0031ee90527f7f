"""The command: its flags, its help, and that the layout of a dataset on disk changes no bit of the network."""

import os
import shutil
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace

import pytest
import yaml
from paths import FORMATS, ROOT
from training import tiny_recipe, weights_of

from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark
from bench.files import read_json_lines
from bench.runs.cards import DatasetCard, ModelCard, read_card
from fr_train.__main__ import _validation, main
from fr_train.commands import COMMANDS
from generate.render.dataset import render_dataset


def call(program, *arguments):
    command = [sys.executable, "-m", *program.split(), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["export", "m.pth", "--out", "o"], "runs"),
        (["--runs", "before", "export", "m.pth", "--out", "o"], "before"),
        (["export", "m.pth", "--out", "o", "--runs", "behind"], "behind"),
        (["--runs", "before", "export", "m.pth", "--out", "o", "--runs", "behind"], "behind"),
    ],
)
def test_flags_before_a_sub_command_count(monkeypatch, capsys, arguments, runs):
    monkeypatch.setattr(sys, "argv", ["fr_train", *arguments])
    (export,) = COMMANDS["publish"]
    monkeypatch.setitem(COMMANDS, "publish", (replace(export, run=lambda args: f"runs={args.runs}"),))
    assert main() == 0
    assert capsys.readouterr().out == f"runs={runs}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["export", "--help"]])
def test_help_says_what_is_read_and_written_and_gives_an_example(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["fr_train", *arguments])
    with pytest.raises(SystemExit):
        main()
    text = " ".join(capsys.readouterr().out.lower().split())
    for words in (" reads ", " writes ", " example: .venv/bin/python -m fr_train "):
        assert words in text


@pytest.fixture
def config(tmp_path):
    """A benchmarks.yaml with two benchmarks of the same rendered faces, as LMDB and as .rec."""
    render_dataset(tmp_path / "rendered", num_identities=4, images_per_identity=6, seed=0)
    lmdb, rec = tmp_path / "rendered" / "faces.lmdb", tmp_path / "rec"
    output = call("bench convert", lmdb, rec, "--to", "rec")
    assert output == f"{rec}: 24 faces of 4 identities\n"
    document = yaml.safe_load(BENCHMARKS_PATH.read_text())
    document["recipes"]["tiny"] = tiny_recipe().model_dump(mode="json")
    for name, path in (("of_lmdb", lmdb), ("of_rec", rec)):
        generator = {"kind": "files", "path": str(path)}
        document["benchmarks"][name] = document["benchmarks"]["smoke"] | {"generator": generator, "recipe": "tiny"}
    (tmp_path / "benchmarks.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "benchmarks.yaml"


@pytest.mark.slow
def test_a_rec_trains_to_the_bits_of_its_lmdb(config, tmp_path):
    models = []
    for scale in ("of_lmdb", "of_rec"):
        where = ("--scale", scale, "--config", config, "--runs", tmp_path / "runs", "--device", "cpu")
        for program in ("generate", "fr_train"):
            call(program, *where)
        (dataset,) = (tmp_path / "runs" / scale / "faces").iterdir()
        assert read_card(dataset, DatasetCard).num_images == 24
        (model,) = (tmp_path / "runs" / scale / "models").iterdir()
        models.append(model)
    cards = [read_card(model, ModelCard) for model in models]
    assert cards[0].weights_sha256 == cards[1].weights_sha256
    assert cards[0].fingerprint != cards[1].fingerprint
    first, second = (weights_of(model) for model in models)
    assert all((first[name] == second[name]).all() for name in first)
    losses = [
        {row["step"]: row["loss"] for row in read_json_lines(model / "train.jsonl") if row["step"] in (3, 6)}
        for model in models
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 2
    assert all((model / "samples.png").exists() for model in models)


def test_template_sets_do_not_stop_the_validation(tmp_path):
    """IJB among the protocols is measured by the evaluation alone."""
    (tmp_path / "ijbb" / "meta").mkdir(parents=True)
    args = Namespace(test_sets=tmp_path, runs=tmp_path / "runs")
    benchmark = load_benchmark("smoke").model_copy(update={"protocols": ("lfw", "ijbb")})
    assert _validation(benchmark, args, "cpu") is None
    shutil.copyfile(FORMATS / "toy.bin", tmp_path / "lfw.bin")
    assert list(_validation(benchmark, args, "cpu")._find()) == ["lfw"]
