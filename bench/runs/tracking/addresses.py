"""Address of the tracking store: for MLflow, for messages (without password), and after the database was deleted."""

import os
import shlex
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from bench.errors import python_command

_times_created: Counter[Path] = Counter()
"""How often this process created each database."""


def tracking_uri(runs: Path) -> str:
    """Address of the tracking store: MLFLOW_TRACKING_URI, or else the SQLite file ``runs/mlflow.db``."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    database = str((runs / "mlflow.db").resolve())
    if not set(database) & set("?%#"):
        return f"sqlite:///{database}"
    # These characters must be escaped. With the driver in the address, MLflow makes no folder of the escaped name
    return f"sqlite+pysqlite:///{quote(database)}"


def shown_uri(runs: Path) -> str:
    """Address of the tracking store as it is printed and written into files: without its password."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return f"sqlite:///{(runs / 'mlflow.db').resolve()}"
    return _hide_password(tracking_uri(runs), tracking_uri(runs))


def sync_command(runs: Path) -> str:
    """The command that sends results which could not be sent, for messages."""
    return python_command("bench sync" if runs == Path("runs") else f"bench sync --runs {shlex.quote(str(runs))}")


def uri_to_open(runs: Path) -> str:
    """The address of the store for MLflow.

    MLflow keeps a database open under its address until the process ends. If the file was deleted, the address is
    spelled in another way, so that MLflow opens a new file instead of writing into the deleted one.
    """
    uri, database = tracking_uri(runs), (runs / "mlflow.db").resolve()
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    if not database.exists():
        _times_created[database] += 1
    return uri.removesuffix("/mlflow.db") + "/." * _times_created[database] + "/mlflow.db"


def error_reason(error: Exception, runs: Path) -> str:
    """An error in one line, without the password of the tracking store."""
    return _hide_password(" ".join(str(error).split()), tracking_uri(runs))[:200]


def _hide_password(text: str, uri: str) -> str:
    """A text with the password of an address replaced by ``***``, quoted or not."""
    secrets = [urlsplit(uri).password, *parse_qs(urlsplit(uri).query).get("password", [])]
    for secret in filter(None, secrets):
        for form in (secret, unquote(secret), quote(secret, safe="")):
            text = text.replace(form, "***")
    return text
