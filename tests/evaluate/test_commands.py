"""Sub-commands: flags before their name count, flags are frozen, and every help says what the command does."""

import argparse
import csv
import re

import pytest
from leaderboard_rows import add_result
from PIL import Image

from bench.errors import InputError
from evaluate.__main__ import COMMANDS, main, make_parser

STAGE_FLAGS = {"--config", "--device", "--help", "--runs", "--scale", "--seed", "--set", "--test-sets", "--weights"}
FLAGS = {
    "compare": {"--help"},
    "fetch": {"--help", "--list", "--revision", "--test-sets"},
    "datasets": {"--help"},
    "pack": {"--help", "--landmarks", "--out", "--pairs"},
    "leaderboard": {"--committed", "--help", "--result", "--runs"},
    "publish": {"--help", "--reports"},
    "groups": {"--against", "--attributes", "--device", "--drop-shared", "--fmr", "--help", "--out", "--reference"}
    | {"--seed", "--table"},
    "identify": {"--device", "--help", "--out"},
    "submit": STAGE_FLAGS - {"--weights", "--set"} | {"--format", "--model", "--out"},
    "audit": STAGE_FLAGS
    | {"--against", "--against-real", "--mask", "--network", "--quality", "--yaw"}
    | {"--members", "--control", "--second-network", "--show-members", "--groups", "--attribute", "--lpips"},
}


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, arguments)])
    return main()


def subparsers():
    parser = make_parser()
    (action,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return parser, action.choices


def test_a_scale_before_the_sub_command_counts(monkeypatch, tmp_path):
    with pytest.raises(
        InputError,
        match=r"holds no faces; run make generate SCALE=mini .*, or give a path",
    ):
        call(monkeypatch, "--scale", "mini", "--runs", tmp_path, "audit")
    with pytest.raises(InputError, match="run make generate SCALE=mini"):
        call(monkeypatch, "--scale", "smoke", "audit", "--scale", "mini", "--runs", tmp_path)
    with pytest.raises(InputError, match="run make generate SCALE=smoke"):
        call(monkeypatch, "audit", "--runs", tmp_path)


def test_a_folder_of_runs_before_the_sub_command_counts(monkeypatch, tmp_path, capsys):
    add_result(tmp_path, "a", 0.9)
    assert call(monkeypatch, "--runs", tmp_path, "leaderboard") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'leaderboard.html'}\n"
    assert {row["name"] for row in csv.DictReader((tmp_path / "leaderboard.csv").open())} == {"a"}


def test_a_folder_of_test_sets_before_the_sub_command_counts(monkeypatch, tmp_path, capsys):
    call(monkeypatch, "--test-sets", tmp_path, "fetch", "hadrian")
    assert str(tmp_path) in capsys.readouterr().out


@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_frozen_and_help_is_whole(name):
    parser = subparsers()[1][name]
    options = {text for action in parser._actions for text in action.option_strings if text.startswith("--")}
    assert options == FLAGS[name]
    assert re.search(r"\breads?\b", parser.description, re.IGNORECASE) or name == "fetch"
    assert f"example:\n  .venv/bin/python -m evaluate {name} " in parser.epilog
    for action in parser._actions:
        assert action.help
        is_optional = action.option_strings and not action.required
        assert not is_optional or "(default: " in action.help or action.dest == "help"


def test_the_examples_parse():
    parser, _ = subparsers()
    for command in (command for commands in COMMANDS.values() for command in commands):
        words = command.example.removeprefix("evaluate ").split()
        assert parser.parse_args(words).command == command.name


def test_commands_are_listed_in_groups(capsys):
    parser, _ = subparsers()
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    text = capsys.readouterr().out
    groups = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    headings = ["results", "test sets", "face datasets", "people", "challenges"]
    assert groups[-5:] == list(COMMANDS) == headings
    assert all(f"\n  {name} " in text for name in FLAGS)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--against", "lfw_folder"), "--against was given without --network"),
        (("--against-real", "lfw_folder"), "--against-real was given without --network"),
        (("--members", "lfw_folder"), "--members and --control belong together"),
        (("--members", "lfw_folder", "--control", "faces"), "2 people, such as 'a', are in lfw_folder and in faces"),
        (("--second-network", "x.onnx"), "--second-network was given without --members"),
        (("--yaw", "x.onnx"), "--yaw was given without --network"),
        (("--show-members",), "--show-members was given without --members"),
    ],
)
def test_an_audit_without_the_network_that_its_flags_need(monkeypatch, tmp_path, flags, message):
    for folder in ("faces/a", "faces/b", "lfw_folder/a", "lfw_folder/b"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (112, 112)).save(tmp_path / folder / "1.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        call(monkeypatch, "audit", "faces", "--runs", tmp_path / "runs", *flags)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--protocols", "lfw", "cfp_fp"), "--protocols lfw cfp_fp was given without --model; give both, or neither"),
        (("--test-mode", "no_flip"), "--test-mode no_flip was given without --model"),
        (("--released", "--model", "net.onnx"), "--released and --model net.onnx were given; give one of them"),
        (
            ("audit", "--mask", "m.npy"),
            "--mask m.npy was given without a path; give the dataset's file too, or no mask",
        ),
    ],
)
def test_flags_that_would_be_ignored_are_refused(monkeypatch, tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        call(monkeypatch, *flags, "--runs", tmp_path / "runs")


def test_an_audit_with_another_seed_runs_again(monkeypatch, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        Image.new("RGB", (112, 112)).save(tmp_path / "faces" / name / "1.png")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "off")
    lines = []
    for seed in (0, 0, 1):
        call(monkeypatch, "audit", tmp_path / "faces", "--runs", tmp_path / "runs", "--seed", seed)
        lines.append(capsys.readouterr().out)
    assert ["skip, unchanged" in text for text in lines] == [False, True, False]
