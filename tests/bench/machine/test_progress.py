"""Progress bars: drawn by rank 0 alone, and switched off by BENCH_PROGRESS=0; notes are printed all the same."""

import pytest

from bench.machine.progress import note, progress


@pytest.mark.parametrize(
    ("environment", "is_off"),
    [({}, False), ({"RANK": "0"}, False), ({"RANK": "1"}, True), ({"BENCH_PROGRESS": "0"}, True)],
)
def test_who_draws_a_bar(monkeypatch, capsys, environment, is_off):
    for name in ("RANK", "BENCH_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    bar = progress(range(3), desc="count")
    assert bar.disable == is_off
    assert list(bar) == [0, 1, 2]
    note("a line")
    assert capsys.readouterr().err.endswith("a line\n")
