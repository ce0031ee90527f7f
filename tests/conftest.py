"""Fixtures that several tests share, among them a finished training of one second."""

import os
import shutil
import signal
import subprocess

import pytest
from face_files import make_faces
from local_hub import hub  # noqa: F401 (a fixture)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a shell started in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the processes that tests start must feel Ctrl-C
os.environ.setdefault("BENCH_LIVE", "0")  # stages that tests run are not followed in MLflow


def pytest_collection_modifyitems(items):
    """Tests marked ``gpu`` are skipped where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture
def one_thread():
    """Small networks are slower on two."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def one_line_per_epoch():
    """On a slow machine the journal of a training would have more lines."""
    from fr_train.trainer import journal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "SECONDS_BETWEEN_LINES", float("inf"))
        yield


@pytest.fixture(scope="module")
def training_faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), num_identities=4, images_per_identity=6)


@pytest.fixture(scope="module")
def trained(one_line_per_epoch, training_faces, tmp_path_factory):
    """Folder and summary of a finished training."""
    from training import tiny_recipe

    from fr_train.trainer.options import RunOptions
    from fr_train.trainer.train import train

    directory = tmp_path_factory.mktemp("trained")
    return directory, train(training_faces, tiny_recipe(), directory, seed=0, options=RunOptions(num_workers=0))


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, wide as a desk."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install '.[dev]'")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip("chromium is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,900"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


@pytest.fixture
def small_disk(tmp_path):
    """Folder of a disk of one MiB, which is full after that. Mounting it needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)
