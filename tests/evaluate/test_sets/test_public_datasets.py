"""The text about public datasets."""

import pytest

from bench.config.catalogue import load_catalogue
from bench.errors import InputError
from evaluate.test_sets.public_datasets import describe_datasets


def test_every_dataset_has_its_six_lines():
    text = describe_datasets()
    known = load_catalogue().datasets
    for name in known:
        lines = text[text.index(f"\n\n{name}\n") :].split("\n")[3:9]
        assert [line[2:12].strip() for line in lines] == [
            "stated",
            "counted",
            "licence",
            "source",
            "traps",
            "read here",
        ]
    assert f"Photographs ({sum(facts.kind == 'real' for facts in known.values())})" in text


def test_one_dataset():
    text = describe_datasets(["VFace10K"])
    assert "  stated     10,000 identities, 500,000 images\n  counted    452,454 or 452,455 images" in text
    assert "  licence    -\n" in text
    assert "HSFace" not in text


def test_an_unknown_dataset_is_refused():
    with pytest.raises(InputError, match="dataset 'DCface' is unknown; did you mean DCFace"):
        describe_datasets(["DCface"])
