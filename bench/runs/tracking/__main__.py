"""Print the address of the tracking store, or of its pages: ``python -m bench.runs.tracking RUNS [--port PORT]``.

For ``make ui``, which starts the MLflow server on the printed store.
"""

import argparse
import sys
from pathlib import Path

from bench.runs.tracking.addresses import tracking_uri


def main() -> None:
    """Print one address."""
    parser = argparse.ArgumentParser(prog="python -m bench.runs.tracking", description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder of all runs")
    parser.add_argument("--port", help="port of the MLflow server; prints the address of the runs' page on it")
    args = parser.parse_args()
    sys.stdout.write(tracking_uri(args.runs) if args.port is None else _page(args.runs, args.port))


def _page(runs: Path, port: str) -> str:
    from bench.runs.tracking.page import page_address
    from bench.runs.tracking.store import connect

    return f"MLflow shows the results here: {page_address(f'http://127.0.0.1:{port}', connect(runs).experiment_id)}\n"


main()
