"""``make ui``: serves a database on localhost, prints the page of a server that runs already, says what is wrong."""

import subprocess
from types import SimpleNamespace

import pytest
from paths import ROOT

from bench.errors import InputError
from bench.runs.tracking import store
from bench.runs.tracking.__main__ import main


def call(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["bench.runs.tracking", *map(str, words)])
    main()


@pytest.mark.parametrize(
    ("uri", "page", "served"),
    [
        (None, "http://127.0.0.1:5050", "sqlite:///{runs}/mlflow.db"),
        ("postgresql://me:secret@host/db", "http://127.0.0.1:5050", "postgresql://me:secret@host/db"),
        ("http://host:5000/", "http://host:5000", ""),
        ("https://me:secret@host/ml", "https://host/ml", ""),
    ],
)
def test_a_server_is_started_for_a_database_alone(tmp_path, monkeypatch, capsys, uri, page, served):
    if uri is None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(store, "connect", lambda runs: SimpleNamespace(experiment_id="7"))
    call(monkeypatch, tmp_path, "--port", 5050)
    assert capsys.readouterr().out.startswith(f"MLflow shows the results here: {page}/#/experiments/7/runs?")
    call(monkeypatch, tmp_path)
    assert capsys.readouterr().out == served.format(runs=tmp_path.resolve())


def test_a_store_that_cannot_be_opened_is_one_line_without_the_password(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match=r"MLflow at http://me:\*\*\*@127\.0\.0\.1:9 cannot be opened") as e:
        call(monkeypatch, tmp_path, "--port", 5050)
    assert "secret" not in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("store_to_serve", "calls"),
    [
        ("", ["python --port 5050", "python"]),
        ("sqlite:///a b.db", ["python --port 5050", "python", "mlflow sqlite:///a b.db --port 5050"]),
    ],
)
def test_make_starts_mlflow_only_if_there_is_a_store_to_serve(tmp_path, store_to_serve, calls):
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    python = f'shift 3; echo "python${{1:+ $*}}" >> log\n[ -n "$1" ] || printf "%s" "{store_to_serve}"'
    mlflow = 'shift 3; echo "mlflow $MLFLOW_BACKEND_STORE_URI $*" >> log'
    for name, text in {"python": python, "mlflow": mlflow}.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    line = ["make", "-f", ROOT / "Makefile", "-o", ".venv/.done", "ui", "PORT=5050"]
    subprocess.run(line, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "log").read_text().splitlines() == calls
