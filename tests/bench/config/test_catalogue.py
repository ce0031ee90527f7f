"""catalogue.yaml: loads, names every file once, and files that do not fit are refused."""

import pytest

from bench.config.catalogue import CATALOGUE_PATH, load_catalogue
from bench.errors import InputError


def test_every_file_is_listed_once_and_saved_under_a_name_of_its_own():
    addresses = load_catalogue().addresses
    assert len(addresses) == len(set(addresses)) == 34
    names = [path.rsplit("/", 1)[-1] for _, _, path in addresses]
    assert len(names) == len(set(names))  # make fetch finds a file by this name


def test_facts_of_a_file():
    repository, facts = load_catalogue().find(("model", "BooBooWu/Vec2Face", "fr_weights/hsface300k.pth"))
    assert (repository.licence, facts.size) == ("MIT", "174.85 MB")
    assert facts.sha256.startswith("3c66ec70848cdc9a")
    assert load_catalogue().find(("dataset", "BooBooWu/Vec2Face", "fr_weights/hsface300k.pth")) is None


def test_datasets_state_their_traps():
    datasets = load_catalogue().datasets
    assert {facts.kind for facts in datasets.values()} == {"synthetic", "real"}
    assert (datasets["HSFace10K"].identities, datasets["HSFace10K"].images) == (10_000, 500_000)
    assert "empty" in datasets["IDiff-Face"].traps


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: model", "kind: space", r"repositories\.0\.kind"),
        ("sha256: bf8c", "sha256: xyz", r"fr_weights/hsface100k\.pth\.sha256"),
        ("identities: 10000", "identities: many", r"datasets\.HSFace10K\.identities"),
        ("    read: an LMDB, as it is\n", "    reads: an LMDB, as it is\n", r"read"),
    ],
)
def test_a_catalogue_that_does_not_fit(tmp_path, old, new, message):
    path = tmp_path / "catalogue.yaml"
    path.write_text(CATALOGUE_PATH.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=rf"catalogue\.yaml: .*{message}.*; correct the YAML"):
        load_catalogue(path)
