"""The stage of files: a dataset over the caps of its division is refused, or a seeded subset of it is used."""

import numpy as np
import pytest
from face_files import make_faces as write_faces

from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark
from bench.config.divisions import DIVISIONS
from bench.errors import InputError
from bench.runs.cards import DatasetCard, read_card
from bench.runs.dataset import open_dataset
from bench.runs.fingerprints import plan_stages
from generate.__main__ import main


@pytest.fixture
def division(tmp_path, monkeypatch):
    """A division of 3 identities and 10 images, and a dataset of 5 identities with 6 images each."""
    small = DIVISIONS["datacv_10k"].model_copy(update={"max_identities": 3, "max_images": 10})
    monkeypatch.setitem(DIVISIONS, "datacv_10k", small)
    faces = write_faces(tmp_path / "faces", num_identities=5, images_per_identity=6)
    text = BENCHMARKS_PATH.read_text().replace("path: data/datacv_10k", f"path: {faces.path}")
    (tmp_path / "benchmarks.yaml").write_text(text)
    return tmp_path / "benchmarks.yaml"


def generate(config, seed=0, *, subset=False):
    if subset:
        text = config.read_text()
        config.write_text(text.replace("    division: datacv_10k", "    division: datacv_10k\n    over_caps: subset"))
    flags = [
        "--scale",
        "datacv_10k",
        "--seed",
        str(seed),
        "--config",
        str(config),
        "--runs",
        str(config.parent / "runs"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["generate", *flags])
        main()
    benchmark = load_benchmark("datacv_10k", config)
    stage = plan_stages(benchmark, seed=seed, runs=config.parent / "runs", test_sets=config.parent).generate
    return read_card(stage.directory, DatasetCard), open_dataset(stage.directory, benchmark.generator)


def test_a_dataset_over_the_caps_is_refused(division):
    advice = "set over_caps: subset to use a seeded subset, or give a smaller dataset"
    with pytest.raises(
        InputError, match=rf"5 identities, more than 3 and 30 images, more than 10 in division datacv_10k; {advice}"
    ):
        generate(division)


def test_a_subset_is_used_by_the_stage_and_by_what_follows(division):
    card, faces = generate(division, subset=True)
    assert (card.num_identities, card.num_images) == (faces.num_identities, len(faces)) == (3, 10)
    assert card.inputs["caps"] == {"max_images": 10, "max_identities": 3}
    assert sorted(np.bincount(faces.identity_ids)) == [3, 3, 4]
    again = open_dataset(division.parent / "runs" / "datacv_10k" / "faces" / card.fingerprint)
    assert [again.encoded(i) for i in range(10)] == [faces.encoded(i) for i in range(10)]


def test_another_seed_is_another_subset(division):
    first, faces = generate(division, subset=True)
    second, others = generate(division, seed=1)
    assert first.fingerprint != second.fingerprint
    assert {faces.encoded(i) for i in range(10)} != {others.encoded(i) for i in range(10)}
