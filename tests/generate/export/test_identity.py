"""The exported identity network gives identity features without components of appearance."""

import numpy as np
import pytest
import torch

from bench.config.recipe import Backbone
from bench.errors import InputError
from fr_train.backbone import build_backbone
from fr_train.checkpoint import save_backbone
from generate.export import identity as exporting
from generate.export.identity import IdentityFeatures, write_identity
from generate.export.onnx_file import onnx_function
from generate.networks.appearance import count_components
from generate.networks.identity import WithAppearance

SETTINGS = Backbone(depth=18, width=4, embedding_dim=8)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An identity network of 8 numbers with 5 components of appearance behind them."""
    path = tmp_path_factory.mktemp("identity") / "identity.safetensors"
    torch.manual_seed(0)
    save_backbone(path, WithAppearance(build_backbone(SETTINGS), 5), SETTINGS)
    return path


def test_components_of_appearance_are_left_out(weights):
    network = IdentityFeatures(weights).eval()
    faces = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.no_grad():
        assert network(faces).shape == (2, 8)
        assert torch.equal(network(faces), network.network(faces)[:, :8])
    assert count_components(weights) == 5


def test_a_network_without_components_is_taken_as_it_is(tmp_path):
    path = tmp_path / "plain.safetensors"
    save_backbone(path, build_backbone(SETTINGS), SETTINGS)
    with torch.no_grad():
        assert IdentityFeatures(path).eval()(torch.zeros(1, 3, 112, 112)).shape == (1, 8)


@pytest.mark.slow
def test_the_file_gives_the_features_of_pytorch(weights, tmp_path):
    network = IdentityFeatures(weights).eval()
    write_identity(network, tmp_path / "identity.onnx")
    faces = np.random.default_rng(0).uniform(-1, 1, (4, 3, 112, 112)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(faces)).numpy()
    np.testing.assert_allclose(onnx_function(tmp_path / "identity.onnx")(faces), expected, rtol=1e-3, atol=1e-4)


def test_a_file_with_other_features_is_not_kept(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "write_onnx", lambda path, *_: path.write_bytes(b""))
    other = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    monkeypatch.setattr(exporting, "onnx_function", lambda path: lambda faces: other)
    with pytest.raises(InputError, match=r"identity\.onnx gives other features than its source"):
        write_identity(IdentityFeatures(weights).eval(), tmp_path / "identity.onnx")
    assert list(tmp_path.iterdir()) == []
