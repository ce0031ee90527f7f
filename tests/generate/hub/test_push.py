"""Cards in the Hub's format, and uploads, which need an explicit flag; against a server on this machine."""

import base64
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard as HubCard
from local_hub import COMMIT, Handler
from results import ENVIRONMENT

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.files import sha256
from bench.machine.facts import Cost, Git
from bench.runs.card_parts.statistics import DatasetStatistics
from bench.runs.cards import DatasetCard, read_card, write_card
from generate.hub.card import render_readme
from generate.hub.push import FILES, push

WEIGHTS = {
    "vec2face_generator.pth": {
        "role": "generator", "sha256": "a" * 64, "trained_on": "real photos", "licence": "MIT", "source": None,
    }
}  # fmt: skip
STATISTICS = {
    "weights": WEIGHTS,
    "dropped": {"identity": 1, "near duplicate": 2},
    "consistent_share": 0.875,
    "nearest_identity": {"num_identities": 3, "cosine_mean": 0.11, "cosine_max": 0.29},
    "bf16_deviation": {"num_images": 16, "max_pixel": 9.5, "mean_pixel": 0.4, "identity_cosine_min": 0.99},
}


@pytest.fixture
def dataset(tmp_path):
    with FaceWriter(tmp_path / "faces.lmdb") as writer:
        for index in range(6):
            writer.write(encode_jpeg(np.full((112, 112, 3), 40 * index, np.uint8)), index // 2)
    (tmp_path / "grid.png").write_bytes(b"grid.png")
    pq.write_table(pa.table({"identity": [0, 0, 1, 1, 2, 2], "yaw": [0.5] * 6}), tmp_path / "faces.parquet")
    card = DatasetCard(
        scale="10k", seed=0, fingerprint="f", inputs={"generator": {"kind": "vec2face", "batch_size": 64}},
        command="python -m generate --scale 10k", cost=Cost(seconds=3600, images_per_second=5.0),
        environment=ENVIRONMENT, git=Git(commit="c" * 40, dirty=False), name="HSFace 10k", path="faces.lmdb",
        num_images=6, num_identities=3, content_sha256=sha256(tmp_path / "faces.lmdb"), statistics=STATISTICS,
    )  # fmt: skip
    write_card(tmp_path, card)
    (tmp_path / "README.md").write_text(render_readme(card))
    (tmp_path / ".lock").touch()
    return tmp_path


class UploadHandler(Handler):
    """Takes uploads like the Hub: creates the repository, plans each file, stores large files, makes a commit."""

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.log.append(("POST", self.path.split("?")[0], body))
        host = f"http://127.0.0.1:{self.server.server_port}"
        if self.path.startswith("/api/repos/create"):
            answer = {"url": f"{host}/datasets/somebody/faces", "id": "somebody/faces"}
        elif "/preupload/" in self.path:
            large = lambda name: "lfs" if name.endswith(".lmdb") else "regular"  # noqa: E731
            names = [file["path"] for file in json.loads(body)["files"]]
            answer = {"files": [{"path": n, "uploadMode": large(n), "shouldIgnore": False} for n in names]}
        elif self.path.endswith("/objects/batch"):
            objects = json.loads(body)["objects"]
            actions = {"upload": {"href": f"{host}/store"}}
            answer = {"transfer": "basic", "objects": [item | {"actions": actions} for item in objects]}
        elif "/commit/" in self.path:
            answer = {"commitUrl": f"{host}/datasets/somebody/faces/commit/{COMMIT}", "commitOid": COMMIT}
        else:
            answer = {"errors": [], "warnings": []}
        self.reply(200, answer)

    def do_PUT(self):  # noqa: N802
        self.server.files["uploaded"] = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(200, {})

    def reply(self, status, answer):
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def test_the_hub_reads_the_metadata(dataset):
    page = HubCard.load(dataset / "README.md")
    assert page.data.to_dict() == {
        "pretty_name": "HSFace 10k", "license": "other", "license_name": "see-weights", "size_categories": ["n<1K"],
        "task_categories": ["image-classification"], "tags": ["face-recognition", "synthetic"],
    }  # fmt: skip
    assert page.text.lstrip().startswith("# HSFace 10k\n")


@pytest.mark.parametrize(
    ("num_images", "category"),
    [(999_999, "100K<n<1M"), (1_000_000, "1M<n<10M"), (9_999_999, "1M<n<10M"), (15_000_000, "10M<n<100M")],
)
def test_large_datasets_have_the_size_category_of_the_hub(dataset, num_images, category):
    card = read_card(dataset, DatasetCard).model_copy(update={"num_images": num_images})
    assert HubCard(render_readme(card)).data.size_categories == [category]


@pytest.mark.parametrize("name", ["Vec2Face mini: 1,500 # people", "- 'quoted' \"twice\"", "no", "Gesichter für alle"])
def test_any_name_survives_the_metadata(dataset, name):
    card = read_card(dataset, DatasetCard).model_copy(
        update={
            "name": name,
            "num_images": 20_000,
            "statistics": DatasetStatistics(),
            "inputs": {"generator": {"kind": "render"}},
        }
    )
    data = HubCard(render_readme(card)).data
    assert (data.pretty_name, data.license, data.get("license_name")) == (name, "mit", None)
    assert data.size_categories == ["10K<n<100K"]


def test_the_card_says_where_everything_comes_from(dataset):
    page = (dataset / "README.md").read_text()
    for text in (
        "6 faces of 3 invented people (2.0 each)",
        "| generator.batch_size | 64 |",
        "| dropped.near duplicate | 2 |",
        "share of images with a cosine of at least 0.7 | 0.875 |",
        "nearest other (features of the images), mean | 0.11 |",
        "largest difference of a pixel, of 255 | 9.5 |",
        "| vec2face_generator.pth | generator | real photos | MIT | placed by hand | `aaaaaaaaaaaaaaaa` |",
        "![Faces, one identity per row](grid.png)",
    ):
        assert text in page, text


def test_nothing_is_sent_without_the_flag(dataset, hub):
    line = push(dataset, "somebody/faces")
    assert line.startswith("would upload 6 files") and "add --upload" in line
    assert hub.log == []


def test_an_upload_holds_only_the_files_of_the_dataset(dataset, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # a store of its own, not simulated
    hub.RequestHandlerClass = UploadHandler
    assert push(dataset, "somebody/faces", upload=True).endswith(COMMIT)
    posts = {path: body for _, path, body in hub.log}
    created = json.loads(posts["/api/repos/create"])
    assert created.get("visibility") == "private" or created.get("private") is True
    assert hub.files["uploaded"] == (dataset / "faces.lmdb").read_bytes()
    lines = [json.loads(line) for line in posts["/api/datasets/somebody/faces/commit/main"].splitlines()]
    sent = {line["value"]["path"]: line["value"] for line in lines if line["key"] in ("file", "lfsFile")}
    assert set(sent) == set(FILES)
    assert base64.b64decode(sent["README.md"]["content"]) == (dataset / "README.md").read_bytes()


def test_datasets_that_cannot_be_pushed_are_refused_with_the_reason(dataset, hub):
    with pytest.raises(InputError, match="'faces' is not user/name"):
        push(dataset, "faces", upload=True)
    with pytest.raises(InputError, match="the Hub did not take somebody/faces"):
        push(dataset, "somebody/faces", upload=True)  # this server knows no uploads
    (dataset / "grid.png").unlink()
    with pytest.raises(InputError, match=r"has no grid\.png"):
        push(dataset, "somebody/faces")
    (dataset / "grid.png").touch()
    (dataset / "faces.lmdb").write_bytes(b"other")
    with pytest.raises(InputError, match=r"faces\.lmdb was changed"):
        push(dataset, "somebody/faces")


@pytest.mark.parametrize(
    ("trained_on", "text"), [("rendered heads of nobody", "rendered heads alone"), ("LFW", "photos of real")]
)
def test_the_card_says_what_the_networks_learned_from(dataset, trained_on, text):
    card = read_card(dataset, DatasetCard)
    weights = {name: part | {"trained_on": trained_on} for name, part in WEIGHTS.items()}
    changed = DatasetCard.model_validate(card.model_dump() | {"statistics": STATISTICS | {"weights": weights}})
    assert text in render_readme(changed)
