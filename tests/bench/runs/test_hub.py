"""Fetching from the Hub: recorded once, checked at every later use, resumed after a break; against a local server."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from local_hub import COMMIT

from bench.errors import InputError
from bench.runs.hub import HubFile, fetch, fetched_from

FILE = HubFile("weights/generator.pth", "someone/repository")
PATH = f"/{FILE.repo_id}/resolve/{{revision}}/{FILE.filename}"


def files_in(folder):
    """Names of the files, without the lock of the downloads."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".fetched.json.lock")


def test_first_fetch_records_and_the_second_asks_nobody(hub, tmp_path):
    hub.files[PATH.format(revision=COMMIT)] = b"weights" * 1000
    path = fetch(FILE, tmp_path, revision=COMMIT)
    assert path == tmp_path / "generator.pth"
    assert path.read_bytes() == b"weights" * 1000
    record = json.loads((tmp_path / "fetched.json").read_text())["generator.pth"]
    assert record["sha256"] == hashlib.sha256(b"weights" * 1000).hexdigest()
    assert record["commit"] == COMMIT
    assert files_in(tmp_path) == ["fetched.json", "generator.pth"]
    hub.log.clear()
    assert fetch(FILE, tmp_path, revision=COMMIT) == path
    assert hub.log == []


def test_a_dataset_has_its_own_address(hub, tmp_path):
    file = HubFile("HSFaces/a.lmdb", "someone/repository", "dataset")
    hub.files["/datasets/someone/repository/resolve/main/HSFaces/a.lmdb"] = b"faces"
    assert fetch(file, tmp_path).read_bytes() == b"faces"


@pytest.mark.slow
def test_a_broken_transfer_goes_on_where_it_stopped(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)  # instead of 10 MB
    content = bytes(range(256)) * 4000
    hub.files[PATH.format(revision="main")] = content
    hub.breaks = [300_000]
    assert fetch(FILE, tmp_path).read_bytes() == content
    starts = [start for command, _, start in hub.log if command == "GET"]
    assert starts[0] == 0
    assert starts[1] == 300_000


def test_a_transfer_that_breaks_for_good_is_one_line_and_leaves_nothing(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    address = PATH.format(revision="main")
    hub.files[address] = bytes(range(256)) * 4000
    hub.breaks = [300_000] * 20
    with pytest.raises(InputError, match=r"generator\.pth: the transfer broke \(peer closed.*try again, or download"):
        fetch(FILE, tmp_path)
    assert files_in(tmp_path) == []
    hub.breaks.clear()
    assert fetch(FILE, tmp_path).read_bytes() == hub.files[address]


def test_what_a_killed_download_left_is_removed(hub, tmp_path):
    (tmp_path / ".fetch-killed" / ".cache").mkdir(parents=True)
    hub.files[PATH.format(revision="main")] = b"weights"
    fetch(FILE, tmp_path)
    assert files_in(tmp_path) == ["fetched.json", "generator.pth"]


def test_the_stated_digest_holds_for_downloads_and_files_placed_by_hand(hub, tmp_path):
    file = HubFile("fr_weights/vface10k.pth", "BooBooWu/Vec2Face_plus")
    hub.files["/BooBooWu/Vec2Face_plus/resolve/main/fr_weights/vface10k.pth"] = b"other"
    with pytest.raises(InputError, match=r"file fr_weights/vface10k\.pth has the SHA-256 .* states b4083a8611b970a2"):
        fetch(file, tmp_path)
    (tmp_path / "vface10k.pth").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"/vface10k\.pth has the SHA-256 .*; delete it to download https"):
        fetch(file, tmp_path)
    record = {"sha256": hashlib.sha256(b"mine").hexdigest(), "bytes": 4, "source": "placed by hand", "commit": None}
    (tmp_path / "fetched.json").write_text(json.dumps({"vface10k.pth": record}))
    assert fetch(file, tmp_path).read_bytes() == b"mine"  # accepted before the catalogue stated a digest


def test_a_changed_file_is_refused_here_and_there(hub, tmp_path):
    address = PATH.format(revision="main")
    hub.files[address] = b"first"
    path = fetch(FILE, tmp_path)
    path.write_bytes(b"edited")
    with pytest.raises(InputError, match=r"generator\.pth was changed.*recorded at the first fetch"):
        fetch(FILE, tmp_path)
    path.unlink()
    hub.files[address] = b"second"
    with pytest.raises(InputError, match=r"revision main\) was changed"):
        fetch(FILE, tmp_path)
    assert not path.exists()
    hub.files[address] = b"first"
    assert fetch(FILE, tmp_path).read_bytes() == b"first"


def test_a_file_placed_by_hand_is_taken_and_recorded(hub, tmp_path):
    (tmp_path / "generator.pth").write_bytes(b"mine")
    fetch(FILE, tmp_path)
    record = json.loads((tmp_path / "fetched.json").read_text())["generator.pth"]
    assert record["source"] == "placed by hand"
    assert hub.log == []


def test_without_network_one_line_says_what_to_do(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"cannot be reached.*by hand to .*generator\.pth"):
        fetch(FILE, tmp_path)
    assert hub.log == []
    assert files_in(tmp_path) == []


@pytest.mark.slow
def test_a_host_that_does_not_answer_is_named(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9 cannot be reached"):
        fetch(FILE, tmp_path)
    assert files_in(tmp_path) == []


def test_a_file_that_the_hub_does_not_have(hub, tmp_path):
    with pytest.raises(InputError, match=r"the Hub refuses it.*check the revision"):
        fetch(FILE, tmp_path)


def test_where_a_file_was_fetched_from(hub, tmp_path):
    hub.files[PATH.format(revision="main")] = b"first"
    path = fetch(FILE, tmp_path)
    digest = hashlib.sha256(b"first").hexdigest()
    assert fetched_from(path, digest) == f"{FILE.page}, commit {COMMIT[:12]}"
    assert fetched_from(path, "0" * 64) is None
    assert fetched_from(tmp_path / "other.bin", digest) is None


def test_processes_that_fetch_at_once_download_once(hub, tmp_path):
    path = PATH.format(revision=COMMIT)
    hub.files[path] = b"weights" * 1000
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(FILE, tmp_path, revision=COMMIT), range(4)))
    assert set(paths) == {tmp_path / "generator.pth"}
    assert [entry[:2] for entry in hub.log].count(("GET", path)) == 1
    assert files_in(tmp_path) == ["fetched.json", "generator.pth"]
