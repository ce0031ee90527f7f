import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.errors import InputError
from generate.fetch import CATALOGUE, GENERATION, HubFile, fetch, find_file

COMMIT = "a1b2c3d4" * 5
FILE = HubFile("weights/generator.pth", "someone/repository")
PATH = f"/{FILE.repo_id}/resolve/{{revision}}/{FILE.filename}"


class Hub(ThreadingHTTPServer):
    """Answers as the Hub does for one repository: HEAD with ETag and commit, GET with ranges; can break a transfer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.log, self.breaks = {}, [], []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        content = self.server.files.get(self.path)
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.server.log.append((self.command, self.path, start))
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            stop = self.server.breaks.pop(0) if self.server.breaks else len(content)
            self.wfile.write(content[start:stop])
            if stop < len(content):
                self.wfile.flush()
                self.close_connection = True

    do_GET = do_HEAD = answer  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_first_fetch_records_and_the_second_asks_nobody(hub, tmp_path):
    hub.files[PATH.format(revision=COMMIT)] = b"weights" * 1000
    path = fetch(FILE, tmp_path, revision=COMMIT)
    assert path == tmp_path / "generator.pth"
    assert path.read_bytes() == b"weights" * 1000
    record = json.loads((tmp_path / "fetched.json").read_text())["generator.pth"]
    assert record["sha256"] == hashlib.sha256(b"weights" * 1000).hexdigest()
    assert record["commit"] == COMMIT
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fetched.json", "generator.pth"]
    hub.log.clear()
    assert fetch(FILE, tmp_path, revision=COMMIT) == path
    assert hub.log == []


def test_a_dataset_has_its_own_address(hub, tmp_path):
    file = HubFile("HSFaces/a.lmdb", "someone/repository", "dataset")
    hub.files["/datasets/someone/repository/resolve/main/HSFaces/a.lmdb"] = b"faces"
    assert fetch(file, tmp_path).read_bytes() == b"faces"


def test_a_broken_transfer_goes_on_where_it_stopped(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)  # instead of 10 MB
    content = bytes(range(256)) * 4000
    hub.files[PATH.format(revision="main")] = content
    hub.breaks = [300_000]
    assert fetch(FILE, tmp_path).read_bytes() == content
    starts = [start for command, _, start in hub.log if command == "GET"]
    assert starts[0] == 0
    assert starts[1] == 300_000


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
    with pytest.raises(InputError, match=r"cannot be reached.*by hand into the folder of weights as generator\.pth"):
        fetch(FILE, tmp_path)
    assert hub.log == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_host_that_does_not_answer_is_named(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9 cannot be reached"):
        fetch(FILE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_hub_does_not_have(hub, tmp_path):
    with pytest.raises(InputError, match=r"the Hub refuses it.*check the revision"):
        fetch(FILE, tmp_path)


def test_names():
    assert [find_file(name).local_name for name in GENERATION] == [
        "vec2face_generator.pth",
        "arcface-r100-glint360k.pth",
        "magface-r100-glint360k.pth",
        "6DRepNet_300W_LP_AFLW2000.pth",
    ]
    assert len({file.local_name for file in CATALOGUE.values()}) == len(CATALOGUE)
    with pytest.raises(InputError, match="did you mean generator"):
        find_file("generater")
