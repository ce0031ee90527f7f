"""Print the address of the tracking store, or of its pages: ``python -m bench.runs.tracking RUNS [--port PORT]``.

For ``make ui``, which starts an MLflow server on the printed store; none is printed where a server runs already.
"""

import argparse
import sys
from pathlib import Path
from urllib.parse import urlsplit

from bench.cli import run
from bench.errors import InputError, python_command
from bench.runs.tracking.addresses import error_reason, shown_uri, tracking_uri


def main() -> None:
    """Print one address."""
    parser = argparse.ArgumentParser(prog=python_command("bench.runs.tracking"), description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder of all runs")
    parser.add_argument("--port", help="port of the MLflow server; prints the address of the runs' page on it")
    args = parser.parse_args()
    server = _server(args.runs)
    if args.port is not None:
        sys.stdout.write(_page(args.runs, server or f"http://127.0.0.1:{args.port}"))
    elif server is None:
        sys.stdout.write(tracking_uri(args.runs))


def _server(runs: Path) -> str | None:
    """Address of the server that MLFLOW_TRACKING_URI names, without user and password; None if it names no server."""
    parts = urlsplit(tracking_uri(runs))
    if parts.scheme not in ("http", "https"):
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _page(runs: Path, server: str) -> str:
    from bench.runs.tracking.page import page_address
    from bench.runs.tracking.store import connect

    try:
        experiment_id = connect(runs).experiment_id
    except Exception as error:  # MLflow, its database and the network raise anything
        raise InputError(
            f"MLflow at {shown_uri(runs)} cannot be opened ({error_reason(error, runs)}); start its server, or correct "
            "MLFLOW_TRACKING_URI or RUNS"
        ) from error
    return f"MLflow shows the results here: {page_address(server, experiment_id)}\n"


if __name__ == "__main__":
    run(main)
