"""SEEDS: several seeds of a benchmark or a stage, by default those of the entry; never together with SEED."""

import pytest
import yaml

from bench.cli import add_seeds_flag, chosen_seeds, stage_parser
from bench.config.benchmarks import BENCHMARKS_PATH
from bench.errors import InputError
from bench.runs import launch


def parse(*words):
    parser = stage_parser("bench run", "")
    add_seeds_flag(parser)
    return parser.parse_args(words)


def test_seeds_of_the_command_line_and_of_the_entry():
    assert chosen_seeds(parse(), (0, 1)) == (0, 1)
    assert chosen_seeds(parse("--seed", "7"), (0, 1)) == (7,)
    assert chosen_seeds(parse("--seeds", "3 1,2"), (0,)) == (3, 1, 2)
    assert chosen_seeds(parse("--seeds", ""), (0,)) == (0,)
    with pytest.raises(InputError, match="SEED=1 and SEEDS=0 2 are both given; keep one of them"):
        chosen_seeds(parse("--seed", "1", "--seeds", "0 2"), (0,))


@pytest.mark.parametrize("text", ["1 x", "-1", "1 1", "1.5"])
def test_seeds_that_are_none(text, capsys):
    with pytest.raises(SystemExit):
        parse(f"--seeds={text}")
    assert "argument --seeds" in capsys.readouterr().err


def test_a_stage_runs_once_for_each_seed(monkeypatch, tmp_path):
    document = yaml.safe_load(BENCHMARKS_PATH.read_text())
    document["benchmarks"] = {"smoke": document["benchmarks"]["smoke"] | {"seeds": [4, 5]}}
    config = tmp_path / "benchmarks.yaml"
    config.write_text(yaml.safe_dump(document))
    commands = []
    monkeypatch.setattr(launch, "run_command", lambda command: commands.append(command) or 0)
    for words in ([], ["--seed=2"], ["--seeds=0 1"]):
        monkeypatch.setattr("sys.argv", ["launch", "train", f"--config={config}", "--runs=my runs", *words])
        assert launch.main() == 0
    assert [command[-1] for command in commands] == [f"--seed={seed}" for seed in (4, 5, 2, 0, 1)]
    assert all("--runs=my runs" in command and not any("--seeds" in word for word in command) for command in commands)


def test_the_first_seed_that_fails_ends_the_stage(monkeypatch):
    statuses = iter([0, 3, 0])
    monkeypatch.setattr(launch, "run_command", lambda _: next(statuses))
    monkeypatch.setattr("sys.argv", ["launch", "generate", "--seeds=0 1 2"])
    assert launch.main() == 3
    assert next(statuses) == 0
