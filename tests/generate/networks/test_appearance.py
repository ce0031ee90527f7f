"""Components of appearance: principal components as numpy's SVD gives them, and files that give the same."""

import numpy as np
import pytest
import torch
from face_files import make_faces
from generator_training import save_network

from bench.errors import InputError
from bench.faces.open import open_faces
from fr_train.checkpoint import load_backbone
from generate.networks.appearance import add_appearance, coarse_faces, measure_appearance
from generate.networks.estimators import quality_estimator
from generate.networks.identity import load_features

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx2torch")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), num_identities=6, images_per_identity=4)


@pytest.fixture(scope="module", params=["bytes.onnx", "scaled.onnx", "iresnet.safetensors"])
def network(request, tmp_path_factory):
    """Mean colour of the image as features, (B, 3), one that takes 0..255 normalises first; and an IResNet."""
    path = tmp_path_factory.mktemp("network") / request.param
    if path.suffix == ".safetensors":
        return save_network(path)
    return save_colour_network(path, takes_bytes=path.stem == "bytes")


def save_colour_network(path, *, takes_bytes=False):
    helper, shape = onnx.helper, ["batch", 3, 112, 112]
    images = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, shape)
    features = helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["batch", 3])
    nodes, given, constants = [], "images", []
    if takes_bytes:
        constants = [onnx.numpy_helper.from_array(np.float32(value), name) for name, value in (("s", 127.5),)]
        nodes, given = [helper.make_node("Sub", ["images", "s"], ["centred"])], "centred"
    nodes += [
        helper.make_node("GlobalAveragePool", [given], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"], axis=1),
    ]
    graph = helper.make_graph(nodes, "colour", [images], [features], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def all_coarse(faces):
    images = np.stack([faces.image(i) for i in range(len(faces))])
    return coarse_faces(np.concatenate([images, images[:, :, ::-1]])).astype(np.float64)


def test_components_are_those_of_the_faces_and_their_mirror_images(faces):
    appearance, coarse = measure_appearance(faces, 5), all_coarse(faces)
    _, singular, directions = np.linalg.svd(coarse - coarse.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(appearance.variances, singular[:5] ** 2 / len(coarse), rtol=1e-4)
    np.testing.assert_allclose(np.abs(np.sum(appearance.components * directions[:5], axis=1)), 1, atol=1e-3)
    assert appearance.explained == pytest.approx((singular[:5] ** 2).sum() / (singular**2).sum(), rel=1e-5)


def test_the_left_half_of_the_face_tells_a_components_sign(faces):
    """Over the whole face the largest values of an antisymmetric component tie, and rounding would choose."""
    columns = measure_appearance(faces, 20).components.reshape(20, -1, 28)
    parities = np.sum(columns * columns[..., ::-1], axis=(1, 2))
    np.testing.assert_allclose(np.abs(parities), 1, atol=1e-4)
    assert (parities < 0).sum() > 3 and (parities > 0).sum() > 3
    left = columns[..., :14].reshape(20, -1)
    assert (left.max(axis=1) == np.abs(left).max(axis=1)).all()


def test_a_coarse_face_averages_places_channel_by_channel():
    image = np.zeros((1, 112, 112, 3), dtype=np.uint8)
    image[0, 4:8, 8:12, 1] = 255
    coarse = coarse_faces(image).reshape(3, 28, 28)
    assert coarse[1, 1, 2] == 1 and (coarse == -1).sum() == coarse.size - 1


@pytest.mark.slow
def test_the_network_gives_its_features_and_then_the_numbers(faces, network, tmp_path):
    path = tmp_path / f"both{network.suffix}"
    appearance = add_appearance(network, faces, path, num_components=4, strength=0.5)
    images = np.stack([faces.image(i) for i in range(len(faces))])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    both, own = load_features(path)(pixels), load_features(network)(pixels)
    torch.testing.assert_close(both[:, :-4], own)
    numbers, expected = both[:, -4:].detach().numpy(), appearance.project(coarse_faces(images))
    scale = np.linalg.norm(numbers, axis=1).mean() / np.linalg.norm(expected, axis=1).mean()
    np.testing.assert_allclose(numbers, expected * scale, atol=1e-3 * np.abs(numbers).max())
    ratio = np.linalg.norm(numbers, axis=1).mean() / np.linalg.norm(own.detach().numpy(), axis=1).mean()
    assert ratio == pytest.approx(0.5, rel=1e-3)


def test_gradients_reach_the_image_through_the_numbers(faces, network, tmp_path):
    path = tmp_path / f"both{network.suffix}"
    add_appearance(network, faces, path, num_components=4, strength=1)
    images = torch.zeros(2, 3, 112, 112, requires_grad=True)
    load_features(path)(images)[:, -4:].square().sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0


def test_quality_is_the_norm_without_the_numbers(faces, tmp_path):
    network = save_network(tmp_path / "identity.safetensors")
    add_appearance(network, faces, tmp_path / "both.safetensors", num_components=4, strength=1)
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    torch.testing.assert_close(
        quality_estimator(tmp_path / "both.safetensors")(images), quality_estimator(network)(images)
    )


@pytest.mark.slow
def test_the_recognition_network_can_be_evaluated_without_the_numbers(faces, tmp_path):
    network = save_network(tmp_path / "identity.safetensors")
    add_appearance(network, faces, tmp_path / "both.safetensors", num_components=4, strength=1)
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    assert torch.equal(load_backbone(tmp_path / "both.safetensors")(images), load_backbone(network)(images))


@pytest.mark.slow
def test_numbers_twice_are_refused(faces, network, tmp_path):
    both = tmp_path / f"both{network.suffix}"
    add_appearance(network, faces, both, num_components=4, strength=1)
    with pytest.raises(InputError, match="has components of appearance already; give the network without them"):
        add_appearance(both, faces, tmp_path / f"more{network.suffix}", num_components=4, strength=1)


def test_a_network_is_not_replaced_by_itself_with_numbers(faces, network):
    before = network.read_bytes()
    with pytest.raises(InputError, match="is what the result is made from, and would be lost; give another --out"):
        add_appearance(network, faces, network, num_components=4, strength=1)
    assert network.read_bytes() == before


def test_files_of_two_kinds_are_refused(faces, tmp_path):
    network = save_network(tmp_path / "identity.safetensors")
    with pytest.raises(InputError, match=r"give two \.onnx, or two \.safetensors"):
        add_appearance(network, faces, tmp_path / "both.onnx", num_components=4, strength=1)


def test_more_numbers_than_faces_are_refused(faces, network, tmp_path):
    with pytest.raises(InputError, match="24 faces cannot give 24 components"):
        add_appearance(network, faces, tmp_path / f"both{network.suffix}", num_components=24, strength=1)
    assert not list(tmp_path.iterdir())


def test_a_network_of_two_outputs_is_refused(faces, tmp_path):
    model = onnx.load(save_colour_network(tmp_path / "one.onnx"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("pooled", onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(InputError, match=r"two\.onnx has 2 outputs"):
        add_appearance(tmp_path / "two.onnx", faces, tmp_path / "both.onnx", num_components=4, strength=1)


def test_faces_of_another_size_are_refused(tmp_path):
    from bench.faces.face import encode_jpeg

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(encode_jpeg(np.zeros((96, 80, 3), dtype=np.uint8)))
    with pytest.raises(InputError, match=r"1\.jpg is 80 x 96 pixels, not square"):
        measure_appearance(open_faces(tmp_path), 1)
