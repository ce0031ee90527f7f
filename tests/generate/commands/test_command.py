"""The sub-commands of python -m generate: their help, their flags, and flags before or after their name."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from bench.cli import parse_flags
from generate.__main__ import COMMANDS, make_parser

FLAGS = {
    "fetch": {"--list", "--revision", "--scale", "--config", "--weights"},
    "centers": {"--out", "--scale", "--config", "--weights", "--device"},
    "faces": {
        "--centers", "--from-images", "--vector", "--range", "--images", "--noise", "--yaw", "--by", "--landmarks",
        "--quality", "--lmdb", "--out", "--scale", "--config", "--weights", "--device", "--seed",
    },
    "protocols": {"--scale", "--config", "--runs"},
    "turn": {"--faces", "--mask", "--leave-out", "--yaw-model", "--views", "--degrees", "--out", "--device", "--seed"},
    "appearance": {
        "--faces", "--mask", "--leave-out", "--identity-model", "--numbers", "--strength", "--out",
    },
    "prepare": {
        "--faces", "--mask", "--leave-out", "--identity-model", "--features", "--mirror", "--mean-norm",
        "--landmarks", "--out", "--device",
    },
    "variation": {"--prepared", "--min-faces", "--views"},
    "train": {
        "--faces", "--mask", "--identity-model", "--judge", "--recipe", "--recipes", "--out",
        "--device", "--seed", "--weights", "--runs",
    },
    "train-pose": {
        "--faces", "--mask", "--generator", "--identity-model", "--judge", "--recipe", "--recipes", "--out",
        "--device", "--seed", "--weights", "--runs",
    },
    "assets": {"--out", "--runs"},
    "ship": {"--trained-on", "--licence", "--out"},
    "export": {"--out"},
    "demo": {"--out", "--scale", "--config", "--weights", "--runs"},
    "push": {"--repo", "--upload", "--public"},
}  # fmt: skip
EVERY_COMMAND = [command for commands in COMMANDS.values() for command in commands]
STAGE_FLAGS = [
    ("--scale", "mini", "scale"),
    ("--seed", 5, "seed"),
    ("--device", "cuda:1", "device"),
    ("--runs", Path("elsewhere"), "runs"),
    ("--weights", Path("elsewhere"), "weights"),
    ("--config", Path("elsewhere"), "config"),
]


def parser_of(command):
    parser = argparse.ArgumentParser()
    command.add_flags(parser)
    return parser


def shortest_line(name):
    """The shortest command line that a sub-command accepts."""
    (command,) = (command for command in EVERY_COMMAND if command.name == name)
    words = []
    for action in parser_of(command)._actions:
        if action.required:
            words += [*action.option_strings[:1], "1"]
    return words


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command.name)
def test_flags_are_frozen_and_say_their_default(command):
    actions = [action for action in parser_of(command)._actions if action.option_strings and action.dest != "help"]
    assert {action.option_strings[0] for action in actions} == FLAGS[command.name]
    for action in actions:
        assert action.required or "default: " in action.help, action.option_strings


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command.name)
def test_the_example_is_a_command_line(command):
    assert command.description.endswith(".") and not command.summary.endswith(".")
    package, *words = shlex.split(command.example)
    assert (package, words[0]) == ("generate", command.name)
    assert parse_flags(make_parser(), words).run is command.run


def test_help_lists_every_command_under_its_heading():
    text = make_parser().format_help()
    listing = text[text.index("make faces:") :].splitlines()
    expected = []
    for heading, commands in COMMANDS.items():
        expected += ["", f"{heading}:", *(command.name for command in commands)]
    assert [line if line.endswith(":") or not line else line.split()[0] for line in listing] == expected[1:]
    assert list(COMMANDS) == ["make faces", "train a generator", "publish"]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command.name)
@pytest.mark.parametrize(("flag", "value", "name"), STAGE_FLAGS, ids=[flag for flag, _, _ in STAGE_FLAGS])
def test_a_flag_of_the_stage_counts_before_and_after_the_command(command, flag, value, name):
    words = [command.name, *shortest_line(command.name)]
    if flag in FLAGS[command.name]:
        before = parse_flags(make_parser(), [flag, str(value), *words])
        after = parse_flags(make_parser(), [*words, flag, str(value)])
        other = "cuda:7" if flag == "--device" else "7"
        both = parse_flags(make_parser(), [flag, other, *words, flag, str(value)])
        assert getattr(before, name) == getattr(after, name) == getattr(both, name) == value
    else:
        with pytest.raises(SystemExit):
            parse_flags(make_parser(), [flag, str(value), *words])


def test_defaults_are_those_of_the_stage():
    stage = vars(parse_flags(make_parser(), []))
    train = vars(parse_flags(make_parser(), ["train", *shortest_line("train")]))
    assert train["seed"] == stage["seed"] == 0
    assert train["device"] == stage["device"] == "auto"
    assert {name: train[name] for name in ("weights", "runs")} == {"weights": Path("weights"), "runs": Path("runs")}


@pytest.mark.parametrize("name", ["train", "faces", "protocols"])
def test_help_of_a_command_is_quick(name):
    command = [sys.executable, "-X", "importtime", "-m", "generate", name, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "example:" in done.stdout
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "mlflow", "pandas", "scipy"}
