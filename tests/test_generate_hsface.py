import pytest
import torch

from bench.config import Backbone, Vec2FaceGenerator, load_benchmarks
from bench.errors import InputError
from bench.records import open_faces
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone
from generate.hsface import make_dataset, make_plan, weight_digests
from generate.vec2face import Architecture, Vec2Face, save_generator


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks are slower on two
    yield
    torch.set_num_threads(before)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    save_generator(
        Vec2Face(Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)), tmp_path / "generator.safetensors"
    )
    settings = Backbone(depth=18, width=8, embedding_dim=16)
    for name in ("identity", "quality"):
        save_backbone(tmp_path / f"{name}.safetensors", build_backbone(settings), settings)
    return tmp_path


SETTINGS = Vec2FaceGenerator(
    kind="vec2face",
    num_identities=3,
    images_per_identity=4,
    max_cosine=0.9999,
    attributes={"pose_share": 0, "max_steps": 1},
    generator_weights="generator.safetensors",
    identity_weights="identity.safetensors",
    quality_weights="quality.safetensors",
    batch_size=4,
)


def test_settings_become_a_dataset_with_the_digest_of_every_weight(weights, tmp_path):
    statistics = make_dataset(tmp_path / "faces", SETTINGS, seed=0, weights=weights, device="cpu")
    assert statistics["num_images"] == len(open_faces(tmp_path / "faces" / "faces.lmdb")) == 12
    assert set(statistics["weights_sha256"]) == {"generator.safetensors", "identity.safetensors", "quality.safetensors"}


def test_a_missing_weight_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"generator.safetensors is missing; run python -m generate fetch"):
        weight_digests(SETTINGS, tmp_path)


def test_every_benchmark_with_vec2face_makes_a_plan(tmp_path):
    benchmarks = [b for b in load_benchmarks().values() if isinstance(b.generator, Vec2FaceGenerator)]
    assert benchmarks
    for benchmark in benchmarks:
        plan = make_plan(benchmark.generator, seed=1, weights=tmp_path, digests={})
        assert plan.num_identities == benchmark.generator.num_identities
        assert sum(plan.image_counts) == benchmark.generator.images_per_identity
