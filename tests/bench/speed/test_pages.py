"""Pages of measured speed: figures and machine on the page, and the list of measurements."""

import json
import subprocess
import sys

import pytest

from bench.speed import write_speed
from bench.speed.__main__ import COMMANDS, main


def test_a_table_says_what_it_was_measured_with(tmp_path):
    rows = [{"way": "plain", "images/s": 2.5, "share": None}, {"way": "ours", "images/s": 1234.5, "share": 0.25}]
    path = write_speed("trial", "Plain against ours", {"Forward": rows}, notes="One run.", directory=tmp_path)
    page, record = path.read_text(), json.loads((tmp_path / "trial.json").read_text())
    assert "| plain | 2.5 | - |\n| ours | 1,234 | 0.25 |" in page
    assert record["tables"]["Forward"] == rows
    assert {"python", "torch", "numpy"} <= set(record["environment"]["versions"])
    assert f"{record['environment']['num_cores']} cores" in page and record["created_utc"] in page
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["trial.json", "trial.md"]


def test_the_command_lists_what_it_can_measure():
    done = subprocess.run([sys.executable, "-m", "bench.speed", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "generate" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_only_what_is_measured_on_a_device_takes_one(name, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    monkeypatch.setitem(COMMANDS, name, (lambda args: page.write_text(f"on {args.device}") and page, "for the test"))
    monkeypatch.setattr("sys.argv", ["bench.speed", name, "--device", "cpu"])
    if name in ("generate", "gpu"):
        assert main() == 0
        assert capsys.readouterr().out == "on cpu\n"
    else:
        with pytest.raises(SystemExit):
            main()
        assert "unrecognized arguments: --device cpu" in capsys.readouterr().err
