"""Exported generators draw the images of PyTorch, whatever their sizes; what cannot be exported is refused."""

import numpy as np
import onnx
import pytest
import torch

from bench.errors import InputError
from generate.__main__ import main
from generate.export import generator as exporting
from generate.export import onnx_file
from generate.export.generator import OnnxGenerator, export_generator, write_generator
from generate.export.onnx_file import onnx_function
from generate.vec2face import Architecture, Vec2Face, save_generator, token_masks, vec2face

LIKE_RELEASED = Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 2), 8)
LIKE_SHIPPED = Architecture(20, 32, 2, 4, 1, 2, 8, (1, 2, 2), 16, smooth=True, own_tokens=True, coarse=True)
LIKE_SHARP = Architecture(20, 32, 1, 2, 1, 2, 4, (1, 1, 2, 2, 2), 8, own_tokens=True, style_width=16, circumstances=6)
pytestmark = pytest.mark.usefixtures("one_thread")


def small(architecture=LIKE_SHIPPED, seed=0):
    torch.manual_seed(seed)
    network = Vec2Face(architecture).eval().requires_grad_(False)
    for parameter in network.parameters():  # position embeddings start at zero, which would hide a wrong order
        parameter.copy_(torch.randn_like(parameter) * 0.2)
    return network


def inputs(network, ratios):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((len(ratios), network.architecture.feature_dim)).astype(np.float32)
    noise = rng.integers(0, 20, (len(ratios), 49)).astype(np.float32)  # with ties
    return features, noise, np.array(ratios, np.float64)


RATIOS = (0.0, 0.1, 5 / 49, 3 * 7 / 49, 0.15, 0.5, 48.0001 / 49, 1.0)


@pytest.mark.parametrize(
    "architecture", [LIKE_RELEASED, LIKE_SHIPPED, LIKE_SHARP], ids=["released", "shipped", "sharp"]
)
def test_the_form_for_onnx_masks_and_draws_as_the_generator(architecture):
    network = small(architecture)
    given = [torch.from_numpy(values) for values in inputs(network, RATIOS)]
    with torch.no_grad():
        torch.testing.assert_close(OnnxGenerator(network)(*given), network(*given), rtol=0, atol=2e-5)


def test_ranks_and_positions_are_those_of_a_stable_sort():
    noise = torch.from_numpy(np.random.default_rng(1).integers(0, 9, (6, 49)).astype(np.float32))
    rank = exporting._rank(noise)
    for row in range(len(noise)):
        order = sorted(range(49), key=lambda token: (noise[row, token].item(), token))
        assert [rank[row, token].item() for token in order] == list(range(49))
    dropped, _ = token_masks(noise, 0.1)
    positions = exporting._first_positions(dropped, 44)
    assert positions.tolist() == [(~row).nonzero()[:, 0].tolist() for row in dropped]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "generator.onnx"
    return path, write_generator(small(), path)


@pytest.mark.slow
def test_the_file_draws_the_images_of_pytorch(exported):
    path, figures = exported
    network = small()
    given = inputs(network, RATIOS)
    with torch.no_grad():
        expected = network(*map(torch.from_numpy, given)).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(onnx_function(path)(*given), expected, atol=1e-4)
    assert figures.feature_dim == 20
    assert 0 <= figures.max_difference < 0.1


@pytest.mark.slow
def test_the_file_states_its_sizes(exported):
    model = onnx.load(exported[0])
    shapes = {
        value.name: [size.dim_value or size.dim_param for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "features": ["batch", 20],
        "noise": ["batch", 49],
        "mask_ratio": ["batch"],
        "images": ["batch", 3, 112, 112],
    }
    assert {entry.key for entry in model.metadata_props} == {"architecture", "drop_ratio"}


def test_a_file_that_draws_other_images_is_not_kept(tmp_path, monkeypatch):
    def write(path, *_):
        path.write_bytes(b"")

    monkeypatch.setattr(exporting, "write_onnx", write)
    monkeypatch.setattr(exporting, "onnx_function", lambda path: lambda *_: np.zeros((1, 3, 112, 112), np.float32))
    with pytest.raises(InputError, match=r"draws other images than its source: pixels differ by up to .* of 255"):
        write_generator(small(), tmp_path / "other.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"generator\.bin does not end in \.onnx; give a name that does"):
        export_generator(tmp_path / "any.safetensors", tmp_path / "generator.bin")
    with pytest.raises(InputError, match="do not exist"):
        export_generator(tmp_path / "none.safetensors", tmp_path / "generator.onnx")
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="an ONNX file ends at 2 GiB; give a smaller network"):
        write_generator(small(), tmp_path / "large.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_exports_the_released_sizes(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    save_generator(vec2face("base"), tmp_path / "base.safetensors")
    arguments = ["generate", "export", str(tmp_path / "base.safetensors"), "--out", str(tmp_path / "base.onnx")]
    monkeypatch.setattr("sys.argv", arguments)
    main()
    assert "features of 512 numbers" in capsys.readouterr().out
    assert (tmp_path / "base.onnx").stat().st_size > 500e6
