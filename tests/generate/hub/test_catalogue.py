"""Names of the catalogue, and the command that downloads them from a server on this machine."""

import hashlib
import json
from pathlib import Path

import pytest

from bench.config.benchmarks import load_benchmark
from bench.config.catalogue import load_catalogue
from bench.config.generator import PUBLISHED_IDENTITIES
from bench.errors import InputError
from generate.__main__ import main
from generate.hub.catalogue import CATALOGUE, files_of_generator, find_file

ON_THE_HUB = {
    ("model", "weights/vec2face_generator.pth"),
    ("model", "weights/arcface-r100-glint360k.pth"),
    ("model", "weights/magface-r100-glint360k.pth"),
    ("model", "weights/6DRepNet_300W_LP_AFLW2000.pth"),
    ("model", "center_feature_examples.npy"),
    ("model", "lmdb_dataset/WebFace4M/WebFace4M.lmdb"),
    ("model", "lmdb_dataset/WebFace4M/50000_ids_1022444_ims.npy"),
    ("model", "fr_weights/hsface10k.pth"),
    ("model", "fr_weights/hsface20k.pth"),
    ("model", "fr_weights/hsface100k.pth"),
    ("model", "fr_weights/hsface200k.pth"),
    ("model", "fr_weights/hsface300k.pth"),
    ("model", "fr_weights/casia-webface-r50.pth"),
    ("model", "fr_weights/casia-webface_hsface10k-r50.pth"),
    ("dataset", "HSFaces/hsface10k.lmdb"),
    ("dataset", "HSFaces/hsface20k.lmdb"),
    ("dataset", "HSFaces/hsface100k_mask.npy"),
    ("dataset", "HSFaces/hsface200k_mask.npy"),
}
"""Type of repository and path of every file of BooBooWu/Vec2Face that was seen on the Hub: the model repository at
commit 2f27572, the dataset repository at commit cfdcd54."""
OF_VEC2FACE_PLUS = {
    ("model", "vec2face_plus/main_model.pth"),
    ("model", "vec2face_plus/pose_model.pth"),
    ("model", "fr_weights/vface10k.pth"),
    ("model", "fr_weights/vface20k.pth"),
    ("model", "fr_weights/vface100k.pth"),
    ("model", "fr_weights/vface300k.pth"),
    ("model", "WebFace4M/WebFace4M_with_landmarks.lmdb"),
    ("dataset", "VFaces/vface10k.lmdb"),
    ("dataset", "VFaces/vface20k.lmdb"),
    ("dataset", "VFaces/vface100k.lmdb"),
}
"""The same of BooBooWu/Vec2Face_plus, the model repository at commit ad84be3."""


def test_every_address_is_one_that_the_hub_has():
    addresses = {(file.repo_id, file.repo_type, file.filename) for file in CATALOGUE.values()}
    assert addresses == {("BooBooWu/Vec2Face", *file) for file in ON_THE_HUB} | {
        ("BooBooWu/Vec2Face_plus", *file) for file in OF_VEC2FACE_PLUS
    }
    for family, sizes in PUBLISHED_IDENTITIES.items():
        assert {f"faces-{family.lower()}{size // 1000}k" for size in sizes} <= CATALOGUE.keys()


def test_vfaces_lie_in_the_dataset_repository_and_those_of_300k_nowhere():
    """The authors' README gives VFaces without the type of the repository, and names weights of 200k for 300k."""
    faces = find_file("faces-vface10k")
    assert (faces.repo_id, faces.repo_type, faces.filename) == (
        "BooBooWu/Vec2Face_plus",
        "dataset",
        "VFaces/vface10k.lmdb",
    )
    assert find_file("fr-vface300k").filename == "fr_weights/vface300k.pth"
    for name in ("faces-vface300k", "fr-vface200k"):
        with pytest.raises(InputError, match=f"file '{name}' is unknown"):
            find_file(name)


def test_names_of_generation_and_of_unknown_files():
    assert [file.local_name for file in files_of_generator(load_benchmark("10k").generator)] == [
        "vec2face_generator.pth",
        "arcface-r100-glint360k.pth",
        "magface-r100-glint360k.pth",
        "6DRepNet_300W_LP_AFLW2000.pth",
    ]
    assert len({file.local_name for file in CATALOGUE.values()}) == len(CATALOGUE)
    with pytest.raises(InputError, match="did you mean generator"):
        find_file("generater")


def test_without_names_the_files_of_the_scale_are_fetched(hub, tmp_path, monkeypatch, capsys):
    names = ["arcface-r100-glint360k.pth", "magface-r100-glint360k.pth", "6DRepNet_300W_LP_AFLW2000.pth"]
    digest = hashlib.sha256(b"there").hexdigest()
    record = {"sha256": digest, "bytes": 5, "source": "placed by hand", "commit": None}
    (tmp_path / "fetched.json").write_text(json.dumps({"main_model.pth": record, "pose_model.pth": record}))
    for name in ("main_model.pth", "pose_model.pth", *names):
        (tmp_path / name).write_bytes(b"there")
    monkeypatch.setattr("sys.argv", ["generate", "fetch", "--scale", "v10k", "--weights", str(tmp_path)])
    assert main() == 0
    fetched = [Path(line).name for line in capsys.readouterr().out.split()]
    assert sorted(fetched) == sorted(["main_model.pth", "pose_model.pth", *names])
    monkeypatch.setattr("sys.argv", ["generate", "fetch", "--scale", "smoke", "--weights", str(tmp_path)])
    with pytest.raises(InputError, match="benchmark smoke needs no file of the Hub"):
        main()


def run_fetch(monkeypatch, weights, *more):
    monkeypatch.setattr("sys.argv", ["generate", "fetch", "generator", "--weights", str(weights), *more])
    return main()


@pytest.mark.slow
def test_the_command_fetches_once_resumes_and_refuses_a_changed_file(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)  # instead of 10 MB
    address = "/BooBooWu/Vec2Face/resolve/main/weights/vec2face_generator.pth"
    content = hub.files[address] = bytes(range(256)) * 4000
    hub.breaks = [300_000]
    assert run_fetch(monkeypatch, tmp_path) == 0
    path = tmp_path / "vec2face_generator.pth"
    assert capsys.readouterr().out.strip() == str(path)
    assert path.read_bytes() == content
    assert [start for command, _, start in hub.log if command == "GET"] == [0, 300_000]
    hub.log.clear()
    assert run_fetch(monkeypatch, tmp_path) == 0
    assert hub.log == []
    path.write_bytes(b"changed")
    with pytest.raises(InputError, match="was changed: its SHA-256"):
        run_fetch(monkeypatch, tmp_path)


def test_the_command_takes_the_revision_of_the_benchmark_or_the_given_one(hub, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="the Hub refuses it"):
        run_fetch(monkeypatch, tmp_path)
    assert {path.split("/")[4] for _, path, _ in hub.log} == {load_benchmark("10k").generator.revision}
    hub.log.clear()
    with pytest.raises(InputError, match="the Hub refuses it"):
        run_fetch(monkeypatch, tmp_path, "--revision", "v7")
    assert {path.split("/")[4] for _, path, _ in hub.log} == {"v7"}


def test_the_table_of_facts_knows_every_file():
    unknown = [name for name, file in CATALOGUE.items() if load_catalogue().find(file.address) is None]
    assert unknown == []


def test_the_list_states_every_name_and_downloads_nothing(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["generate", "fetch", "--list", "--weights", str(tmp_path)])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(CATALOGUE)
    (row,) = (line for line in lines if line.startswith("| fr-hsface300k |"))
    digest = "3c66ec70848cdc9a5d75a9fc4476cecc5789ce295c875f36a28300b742ddead7"
    assert f"| model BooBooWu/Vec2Face | fr_weights/hsface300k.pth | 174.85 MB | MIT | {digest} |" in row
    assert hub.log == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "repository", "path", "digest"),
    [
        ("fr-hsface300k", "Vec2Face", "fr_weights/hsface300k.pth", "3c66ec70848cdc9a"),
        ("plus-generator", "Vec2Face_plus", "vec2face_plus/main_model.pth", "fdd7e6d3969189d0"),
        ("plus-pose", "Vec2Face_plus", "vec2face_plus/pose_model.pth", "ede5ceab24da0e01"),
        ("fr-vface10k", "Vec2Face_plus", "fr_weights/vface10k.pth", "b4083a8611b970a2"),
    ],
)
def test_a_download_with_another_digest_than_stated_is_refused(
    hub, tmp_path, monkeypatch, name, repository, path, digest
):
    hub.files[f"/BooBooWu/{repository}/resolve/main/{path}"] = b"other bytes"
    monkeypatch.setattr("sys.argv", ["generate", "fetch", name, "--weights", str(tmp_path)])
    with pytest.raises(InputError, match=rf"but catalogue\.yaml states {digest}\.\.\.; give the --revision of"):
        main()
    assert not (tmp_path / Path(path).name).exists()
