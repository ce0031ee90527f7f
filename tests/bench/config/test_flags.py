"""Values of flags are checked when they are parsed: the message names the flag, the value and what to give."""

import argparse

import pytest

from bench.cli import add_stage_flags, make_parser
from bench.config import flags
from bench.errors import InputError
from bench.machine.device import choose_device
from generate.__main__ import make_parser as generate_parser


def parse(*words):
    parser = make_parser("bench", "A test.")
    add_stage_flags(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    "words",
    [
        *(("--seed", value) for value in ("-1", str(2**63), str(2**64), "1.5", "²", "nan", "1_000", "9" * 5000)),
        *(("--device", value) for value in ("CPU", "gpu", "cuda:", "cuda:x", "cuda:-1", "mps", "foo", "")),
    ],
)
def test_bad_stage_flags_end_with_status_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    assert ended.value.code == 2
    assert f"error: argument {words[0]}: " in capsys.readouterr().err


def test_good_stage_flags():
    assert parse("--seed", str(2**63 - 1)).seed == 2**63 - 1
    assert [parse("--device", name).device for name in ("auto", "cpu", "cuda:7")] == ["auto", "cpu", "cuda:7"]


@pytest.mark.parametrize(
    ("convert", "bad", "good"),
    [
        (flags.count, ["0", "-1", "1.0", "nan", str(2**31)], ["1", "50"]),
        (flags.count_or_zero, ["-1", "x"], ["0", "8"]),
        (flags.positive, ["0", "-2", "nan", "inf", "1e999", "many"], ["27", "0.5"]),
        (flags.positive_or_zero, ["-0.1", "nan"], ["0", "10"]),
        (flags.yaw, ["nan", "91", "-inf"], ["60", "-85"]),
        (flags.cosine, ["1.1", "nan"], ["-1", "0.7"]),
        (flags.pixels, ["112", "-112", "1.5"], ["8", "-8", "0"]),
    ],
)
def test_numbers(convert, bad, good):
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match="; give "):
            convert(text)
    assert [convert(text) for text in good] == [float(text) for text in good]


@pytest.mark.parametrize("words", [("--images", "0"), ("--images", "-1"), ("--yaw", "nan"), ("--quality", "nan")])
def test_counts_and_targets_of_faces(words, capsys):
    with pytest.raises(SystemExit):
        generate_parser().parse_args(["faces", "--out", "x", *words])
    assert f"argument {words[0]}: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["CPU", "gpu", "mps", "cuda:x", "foo"])
def test_devices_of_calls_from_python(name):
    with pytest.raises(InputError, match=f"DEVICE={name} is no device; give auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_a_gpu_beyond_the_last_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert choose_device("cuda:1") == "cuda:1"
    with pytest.raises(InputError, match="DEVICE=cuda:7, but torch sees the GPUs cuda:0 to cuda:1"):
        choose_device("cuda:7")
