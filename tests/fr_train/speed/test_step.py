"""The measured tables of training: the compared loaders give the same faces, and the rows have plausible figures."""

import numpy as np
import pytest
import torch
from face_files import make_faces

from bench.config.benchmarks import load_benchmark
from bench.config.recipe import Augmentation
from evaluate.measure import speed as evaluate_speed
from fr_train.speed import faces as speed_faces
from fr_train.speed import step as speed
from fr_train.speed.faces import PlainLoader
from fr_train.trainer.data import FaceBatches

RECIPE = load_benchmark("smoke").recipe
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 112, 112, 3), dtype=np.uint8)


def test_both_loaders_give_the_same_faces_without_random_augmentation(tmp_path):
    faces = make_faces(tmp_path, num_identities=2, images_per_identity=2)
    always_flip = Augmentation(flip=1.0, erasing={"probability": 0})
    load = PlainLoader(faces, always_flip)
    plain = torch.stack([load(i)[0] for i in range(4)])
    batch = FaceBatches(faces, RECIPE.model_copy(update={"batch_size": 4, "augmentation": always_flip}), seed=0)[0]
    ours = batch.network_input(torch.device("cpu"), always_flip, 0, channels_last=True)
    torch.testing.assert_close(ours, plain[batch.indices], rtol=0, atol=1e-6)


def test_the_plain_loader_augments_as_many_faces_as_ours(tmp_path):
    faces = make_faces(tmp_path, num_identities=2, images_per_identity=1)
    chosen = Augmentation(flip=0, crop=0.3, low_resolution=0.3, photometric=0.3, erasing={"probability": 0.5})
    load, plain = PlainLoader(faces, chosen), PlainLoader(faces, Augmentation(flip=0, erasing={"probability": 0}))
    np.random.seed(0)  # noqa: NPY002 (the plain loader draws from it)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        is_changed = [not torch.equal(load(0)[0], plain(0)[0]) for _ in range(300)]
    assert np.mean(is_changed) == pytest.approx(1 - 0.7**3 * 0.5, abs=0.1)


def test_rows_of_faces(monkeypatch):
    monkeypatch.setattr(speed_faces, "NUM_PASSES", 1)
    threads = torch.get_num_threads()
    rows = speed_faces.face_rows(IMAGES, load_benchmark("10k").recipe)
    assert [row["augmentation"].split()[0] for row in rows] == ["nothing", "flip", "all"] * 2
    assert all(row["times"] > 0 for row in rows)  # timing decides no test
    assert torch.get_num_threads() == threads


def test_an_official_loader_runs_beside_ours(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data_loader_train_lmdb.py").write_text(
        "import io, lmdb, msgpack, numpy\n"
        "from PIL import Image\n"
        "class LMDB:\n"
        "    def __init__(self, path):\n"
        "        self.env = lmdb.open(path, subdir=False, readonly=True, lock=False)\n"
        "    def __len__(self):\n"
        "        with self.env.begin() as transaction:\n"
        "            return msgpack.loads(transaction.get(b'__len__'))\n"
        "    def __getitem__(self, index):\n"
        "        with self.env.begin() as transaction:\n"
        "            key = msgpack.loads(transaction.get(b'__keys__'))[index]\n"
        "            content, label = msgpack.loads(transaction.get(key))\n"
        "        face = numpy.asarray(Image.open(io.BytesIO(content)))\n"
        "        with open('seen.txt', 'a') as file:\n"
        "            print(face.shape, label, file=file)\n"
        "        return face, label\n"
        "class LMDBDataLoader:\n"
        "    def __init__(self, config):\n"
        "        with open('settings.txt', 'a') as file:\n"
        "            file.write(f'augment={config.augment} erase={config.rand_erase} ')\n"
        "        self.loader = DataLoaderX(local_rank=0, dataset=LMDB(config.train_source), batch_size=2)\n"
        "    def get_loader(self):\n"
        "        return self.loader\n"
    )
    monkeypatch.setattr(speed_faces, "NUM_PASSES", 1)
    monkeypatch.chdir(tmp_path)  # the fake loader notes there what it reads
    rows = speed_faces.face_rows(IMAGES, load_benchmark("10k").recipe, tmp_path)
    assert len(rows) == 6 and all(row["official loader images/s"] > 0 for row in rows)
    expected = [f"(112, 112, 3) {index % 2}" for index in range(64)]
    assert (tmp_path / "seen.txt").read_text().splitlines() == 6 * expected
    assert (tmp_path / "settings.txt").read_text() == 2 * "augment=False erase=True augment=True erase=True "


@pytest.mark.slow
def test_the_other_rows(monkeypatch):
    monkeypatch.setattr(speed, "WAIT_FACES", 256)
    monkeypatch.setattr(speed, "WAIT_EPOCHS", 2)
    monkeypatch.setattr(evaluate_speed, "NUM_PAIRS", 600)
    plain, last, ours = speed.step_rows(RECIPE)
    assert plain["times plain"] == 1
    assert min(last["images/s"], ours["images/s"]) > 0
    (wait,) = speed.wait_rows(IMAGES, {"smoke": RECIPE})
    assert wait["network"] == "IResNet-18 width 16"
    assert 0 <= wait["waiting for faces, share"] < 1
    floats, ours = evaluate_speed.memory_rows(IMAGES)
    assert ours["resident MiB"] < floats["resident MiB"] / 2
    whole, half, *_, sampled = speed.head_rows(60_000)
    assert half["share"] == pytest.approx(0.5)
    assert half["logits of a rank"] == whole["logits of a rank"] / 2
    assert sampled["share of logits"] == pytest.approx(0.05, abs=0.005)
