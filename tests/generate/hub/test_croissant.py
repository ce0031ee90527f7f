"""croissant.json: valid by mlcroissant, files with their hashes, and the datasheet of the page."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from results import ENVIRONMENT

from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.files import sha256
from bench.machine.facts import Cost, Git
from bench.runs.card_parts.statistics import DatasetStatistics, PartOfMixture
from bench.runs.cards import DatasetCard
from generate.hub.card import render_readme
from generate.hub.croissant import CROISSANT_NAME, write_croissant
from generate.hub.datasheet import GAP, datasheet

LEARNED = {"generator.pth": {"role": "generator", "sha256": "a" * 64, "trained_on": "WebFace4M", "licence": "MIT"}}
RENDERED = {"identity.safetensors": {"sha256": "b" * 64, "trained_on": "rendered heads, 300 people", "licence": "MIT"}}
RAI = ("dataLimitations", "dataBiases", "personalSensitiveInformation", "dataUseCases", "dataSocialImpact")


def make_card(directory, weights=LEARNED, kind="vec2face", **statistics):
    path = directory / "faces.lmdb"
    return DatasetCard(
        scale="10k", seed=3, fingerprint="0123456789abcdef", inputs={"generator": {"kind": kind}},
        command="python -m generate",
        cost=Cost(seconds=1), environment=ENVIRONMENT, git=Git(commit="c" * 40, dirty=False), name="HSFace 10k",
        path="faces.lmdb", num_images=4, num_identities=2, content_sha256=sha256(path) if path.exists() else None,
        statistics=DatasetStatistics(weights=weights, **statistics),
    )  # fmt: skip


@pytest.fixture
def dataset(tmp_path):
    with FaceWriter(tmp_path / "faces.lmdb") as writer:
        for index in range(4):
            writer.write(encode_jpeg(np.full((112, 112, 3), 60 * index, np.uint8)), index // 2)
    kinds = {"kind": ["a", "a", "b", "b"], "box": [[1, 2]] * 4}
    columns = {"identity": [0, 0, 1, 1], "yaw": [0.5, 1.5, -2.0, 0.0], **kinds}
    pq.write_table(pa.table(columns), tmp_path / "faces.parquet")
    (tmp_path / "grid.png").write_bytes(b"picture")
    return tmp_path


def test_files_are_named_with_size_and_hash(dataset):
    before = {path.name: sha256(path) for path in dataset.iterdir()}
    content = json.loads(write_croissant(dataset, make_card(dataset)).read_text())
    files = {item["@id"]: item for item in content["distribution"]}
    assert {name: item["sha256"] for name, item in files.items()} == before
    assert files["faces.lmdb"]["contentSize"] == f"{(dataset / 'faces.lmdb').stat().st_size} B"
    assert {path.name: sha256(path) for path in dataset.iterdir() if path.name != CROISSANT_NAME} == before
    types = {field["name"]: field["dataType"] for field in content["recordSet"][0]["field"]}
    assert types == {"identity": "sc:Integer", "yaw": "sc:Float", "kind": "sc:Text", "box": "sc:Integer"}


def test_mlcroissant_finds_nothing_wrong(dataset):
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed; it comes with the extra dev")
    path = write_croissant(dataset, make_card(dataset))
    loaded = mlcroissant.Dataset(jsonld=path)  # raises ValidationError with every error that it finds
    issues = loaded.metadata.ctx.issues
    assert not issues.errors and not issues.warnings
    rows = list(loaded.records("faces"))
    assert [row["faces/identity"] for row in rows] == [0, 0, 1, 1]
    assert loaded.metadata.name == "HSFace-10k-10k-seed-3"


def test_the_fields_for_responsible_ai_are_known_terms_or_plain_gaps(dataset):
    content = json.loads(write_croissant(dataset, make_card(dataset)).read_text())
    assert all(content[f"rai:{name}"] for name in RAI)
    assert content["rai:dataSocialImpact"] == GAP
    assert content["rai:hasSyntheticData"] is True
    assert content["prov:wasDerivedFrom"] == ["generator.pth: trained on WebFace4M"]
    assert "python -m generate at commit cccc" in content["prov:wasGeneratedBy"]
    assert content["license"] == "Follows the licences of the networks: MIT."


@pytest.mark.parametrize(
    ("weights", "kind", "information", "terms"),
    [
        (LEARNED, "vec2face", "some may resemble them", "Follows the licences"),
        (RENDERED, "vec2face", "No photograph", "Follows the licences"),
        (None, "render", "No photograph", "MIT"),
        (None, "diffusion", "some may resemble them", "Not stated"),
    ],
)
def test_what_is_said_of_people_and_terms_follows_from_the_networks(tmp_path, weights, kind, information, terms):
    card = make_card(tmp_path, weights, kind)
    answers = dict(datasheet(card))
    assert information in answers["Does it hold confidential data or data about people?"]
    assert answers["Under which licence?"].startswith(terms)
    assert ("license: mit" in render_readme(card)) == (terms == "MIT")
    assert answers["Was there consent, or an ethical review?"] == GAP


def test_a_mixture_with_photographs_says_so(tmp_path):
    parts = [PartOfMixture(name=name, num_images=2, num_identities=1, sha256="d" * 64, is_real=name == "casia")
             for name in ("casia", "smoke")]  # fmt: skip
    card = make_card(tmp_path, None, "mixture", parts=parts)
    assert "photographs of real people" in dict(datasheet(card))["Does it hold confidential data or data about people?"]
    (tmp_path / "selection.npy").write_bytes(b"positions")
    content = json.loads(write_croissant(tmp_path, card).read_text())
    assert content["prov:wasDerivedFrom"] == ["casia", "smoke"] and content["rai:hasSyntheticData"] is False
    assert [item["name"] for item in content["distribution"]] == ["selection.npy"]


def test_data_that_others_published_is_taken_as_learned(tmp_path):
    card = make_card(tmp_path, None, source="HaiyuWu/HSFace10K@abc")
    answers = dict(datasheet(card))
    assert "some may resemble" in answers["Does it hold confidential data or data about people?"]
    assert answers["Under which licence?"] == "The licence of its authors; see HaiyuWu/HSFace10K@abc."
    assert answers["How was it collected and sampled?"].startswith("Published by others: HaiyuWu/HSFace10K@abc")


def test_the_page_has_the_datasheet(dataset):
    page = render_readme(make_card(dataset))
    section = page.split("## Datasheet")[1]
    assert section.count(GAP) == 3
    assert "| Under which licence? | Follows the licences of the networks: MIT. |" in section
