"""What MLflow's page shows first, in headless Chromium: results with their accuracies, floors and stages folded."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from results import make_result, write_run

from bench.runs.cards import write_card
from bench.runs.tracking.addresses import tracking_uri
from bench.runs.tracking.nesting import set_parent
from bench.runs.tracking.sending import sync

pytestmark = pytest.mark.slow
MINUTES = 4 * 60
"""Of patience: on a busy machine the server takes a minute to start, and the page half of one."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A result, two points of a sweep, and two floors."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        write_run(runs, accuracy=0.875)
        points = [write_run(runs, accuracy=0.75, seed=1), write_run(runs, accuracy=0.7, seed=2)]
        for name, accuracy in (("raw pixels", 0.55), ("untrained backbone", 0.5)):
            floor = make_result(accuracy=accuracy, name=name, row="floor", fingerprint=name.replace(" ", "_"))
            write_card(runs / "smoke" / "results" / floor.fingerprint, floor)
        assert sync(runs) == (5, None)
        assert set_parent(points, "sweep noise", runs, ["seed"]) is None
        yield runs


@pytest.fixture(scope="module")
def address(runs):
    """The address that ``make ui`` prints, of a server of our own."""
    if not all(shutil.which(name) for name in ("chromium", "chromedriver")):
        pytest.skip("chromium is not installed: apt-get install chromium chromium-driver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    printed = subprocess.run(
        [sys.executable, "-m", "bench.runs.tracking", str(runs), "--port", port],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    address = printed.split()[-1]
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": tracking_uri(runs), "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (runs / "server.log").open("w") as log:
        process = subprocess.Popen(server, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"))
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + MINUTES
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for minutes"
        time.sleep(0.2)


def test_the_address_opens_results_with_accuracies_first_and_the_rest_folded(browser, address):
    browser.get(address)
    text = lambda: browser.execute_script("return document.body.innerText")  # noqa: E731
    wait_until(lambda: "accuracy/mean" in text() and "smoke seed 0 result" in text())
    shown = text()
    assert "Model training" in shown
    assert "How good is synthetic face training data?" in shown
    assert "share key" not in shown  # the message of a view that MLflow does not understand
    names = [line for line in shown.splitlines() if line.startswith(("smoke", "floors", "sweep", "train", "generate"))]
    assert {"smoke seed 0 result", "floors", "sweep noise"} <= set(names)
    assert not [name for name in names if name.startswith(("train smoke", "generate smoke", "smoke: "))]
    charts = [line for line in shown.splitlines() if "/" in line and line.startswith(("accuracy", "cost", "auc"))]
    assert charts[0] == "accuracy/mean"
    assert all(chart.startswith("accuracy/") for chart in charts[:6])


def test_the_view_of_a_sweep_shows_its_points_alone_with_settings_against_accuracy(browser, address):
    browser.get("about:blank")  # else the page of the other test would only change its address
    browser.get(address.replace("viewStateShareKey=results", "viewStateShareKey=sweep-noise"))
    text = lambda: browser.execute_script("return document.body.innerText")  # noqa: E731
    wait_until(lambda: "smoke seed 1 result" in text() and "accuracy/mean" in text())
    assert not {"smoke seed 0 result", "floors", "sweep noise"} & set(text().splitlines())
    wait_until(lambda: "Parallel Coordinates" in text())
