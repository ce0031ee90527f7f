"""An identity network and faces -> the same network with components of appearance appended to its features.

An identity network discards light, pose, hair and background. A generator that is conditioned on its features alone
can only paint the average over them: a washed-out face. The appended numbers are the first principal components of the
low-resolution image (eigenfaces, Turk & Pentland 1991). They are sampled together with the identity, and they vary
within a person as they do between photographs of one person. The output is a network file of the same kind as the
input, so that every command takes it as an identity model.

Shapes: ``N`` faces, ``P`` = 3 * 28 * 28 values of a low-resolution face, ``K`` components, ``D`` width of the features.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

from bench.errors import InputError
from bench.faces.face import Faces, aligned_image
from bench.files import atomic_path, refuse_overwriting
from bench.machine.progress import progress
from bench.onnx_input import takes_bytes
from fr_train.checkpoint import read_backbone, save_backbone
from generate.networks.identity import COARSE_SIDE, COARSENESS, WithAppearance, load_features
from generate.networks.over_faces import face_batches, outputs_over_faces

_BATCH = 256
_ONNX_MATRIX = "appearance_matrix"
_NUM_NORM_FACES, _NORM_BATCH = 512, 32
"""Faces on which the norms of features and components are compared."""


@dataclass(frozen=True)
class Appearance:
    """Mean and principal components of low-resolution faces in [-1, 1]."""

    mean: NDArray[np.float32]
    """Shape (P,)."""
    components: NDArray[np.float32]
    """Orthonormal, shape (K, P), in order of decreasing variance."""
    variances: NDArray[np.float32]
    """Variance along each component, shape (K,)."""
    explained: float
    """Share of the total variance that the components explain."""

    def project(self, coarse: NDArray[np.floating]) -> NDArray[np.float32]:
        """Low-resolution faces (N, P) -> their coefficients (N, K)."""
        return ((coarse - self.mean) @ self.components.T).astype(np.float32)


def coarse_faces(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Low-resolution faces: means over 4 x 4 pixels, in [-1, 1], shape (N, P), ordered channel, row, column.

    Args:
        images: uint8 RGB, shape (N, 112, 112, 3).
    """
    blocks = images.reshape(len(images), COARSE_SIDE, COARSENESS, COARSE_SIDE, COARSENESS, 3).mean(
        axis=(2, 4), dtype=np.float32
    )
    return (blocks / 127.5 - 1).transpose(0, 3, 1, 2).reshape(len(images), -1)


def measure_appearance(faces: Faces, num_components: int) -> Appearance:
    """Principal components of the low-resolution faces and their mirror images.

    The covariance is summed batch by batch, so memory does not grow with the number of faces. scikit-learn's PCA needs
    all rows in memory, its IncrementalPCA is an approximation, and both choose signs by a rule that rounding can flip
    here (see ``_signs``); the shipped identity network must come out the same every time.

    Raises:
        InputError: If there are not more faces than components, or a face is not square.
    """
    if len(faces) <= num_components:
        raise InputError(f"{len(faces)} faces cannot give {num_components} components of appearance; give more faces")
    size = 3 * COARSE_SIDE**2
    total, squares = np.zeros(size), np.zeros((size, size))
    with progress(desc="low-resolution faces", total=len(faces)) as bar:
        for images in face_batches(faces, _BATCH):
            for view in (images, images[:, :, ::-1]):
                coarse = coarse_faces(view).astype(np.float64)
                total += coarse.sum(axis=0)
                squares += coarse.T @ coarse
            bar.update(len(images))
    mean = total / (2 * len(faces))
    covariance = squares / (2 * len(faces)) - np.outer(mean, mean)
    variances, directions = eigh(covariance, subset_by_index=[size - num_components, size - 1])
    components = directions.T[::-1].copy()
    components *= _signs(components)
    return Appearance(
        mean=mean.astype(np.float32),
        components=components.astype(np.float32),
        variances=variances[::-1].astype(np.float32),
        explained=float(variances.sum() / covariance.trace()),
    )


def _signs(components: NDArray[np.floating]) -> NDArray[np.floating]:
    """Factor 1 or -1 per component, shape (K, 1), that makes its largest value in the left half of the face positive.

    Because mirror images are included, every component equals its own mirror image or the negative of it. In an
    antisymmetric component the largest value of the whole face occurs twice, once with each sign; rounding would decide
    between them. The left half has no such tie.
    """
    left = components.reshape(-1, COARSE_SIDE, COARSE_SIDE)[:, :, : COARSE_SIDE // 2].reshape(len(components), -1)
    return np.sign(np.take_along_axis(left, np.abs(left).argmax(axis=1)[:, None], axis=1))


def add_appearance(
    network: str | Path, faces: Faces, target: str | Path, *, num_components: int, strength: float
) -> Appearance:
    """Write a network that gives the features of ``network`` and, behind them, components of appearance.

    Args:
        network: Identity network, RGB images (B, 3, 112, 112) to features (B, D): ONNX, or our safetensors.
        faces: Faces from which the components and the norm of the features are measured.
        target: File to write, of the same kind: images to (B, D + num_components).
        num_components: Principal components to append.
        strength: Mean norm of the appended part, as a share of the mean norm of the features.

    Raises:
        InputError: If the network cannot be read or has components already, if ``target`` is of another kind or is
            ``network`` itself, or if the faces are too few or not square.
    """
    network, target = Path(network), Path(target)
    refuse_overwriting(network, target)
    if network.suffix != target.suffix or target.suffix not in _WRITERS:
        raise InputError(
            f"{network} -> {target}: these are not networks of one kind; give two .onnx, or two .safetensors"
        )
    identity = load_features(network)
    if count_components(network):
        raise InputError(f"{network} has components of appearance already; give the network without them")
    appearance = measure_appearance(faces, num_components)
    chosen = np.linspace(0, len(faces) - 1, min(_NUM_NORM_FACES, len(faces))).astype(int)
    images = np.stack([aligned_image(faces, int(row)) for row in chosen])
    features = torch.from_numpy(outputs_over_faces(identity, images, batch_size=_NORM_BATCH))
    norm = np.mean([batch.norm(dim=1).mean().item() for batch in features.split(_NORM_BATCH)])
    scale = float(strength * norm / np.linalg.norm(appearance.project(coarse_faces(images)), axis=1).mean())
    offset = (-scale * appearance.components @ appearance.mean).astype(np.float32)
    _WRITERS[target.suffix](network, appearance.components * scale, offset, target)
    return appearance


def _write_safetensors(network: Path, matrix: NDArray[np.float32], offset: NDArray[np.float32], target: Path) -> None:
    backbone, settings = read_backbone(network)
    joined = WithAppearance(backbone, len(offset))
    joined.appearance.load_state_dict({"weight": torch.from_numpy(matrix), "bias": torch.from_numpy(offset)})
    save_backbone(target, joined, settings)


def count_components(network: str | Path) -> int:
    """Number of components of appearance behind the features of an identity network; 0 if there are none.

    Args:
        network: ONNX or weight file that ``load_features`` reads.
    """
    if Path(network).suffix == ".onnx":
        import onnx

        matrices = [tensor for tensor in onnx.load(network).graph.initializer if tensor.name == _ONNX_MATRIX]
        return matrices[0].dims[0] if matrices else 0
    identity = load_features(network)
    return identity.appearance.out_features if isinstance(identity, WithAppearance) else 0


def _write_onnx(network: Path, matrix: NDArray[np.float32], offset: NDArray[np.float32], target: Path) -> None:
    """Add a second branch to the graph (average pooling, one matrix) and concatenate both outputs."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(network)
    graph: Any = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    images = next(value for value in graph.input if value.name not in weights)
    (features,) = graph.output
    if takes_bytes(graph):  # the branch sees pixels of 0..255: pixels / 127.5 - 1 is folded into matrix and offset
        matrix, offset = matrix / 127.5, offset - matrix.sum(axis=1)
    graph.initializer.append(numpy_helper.from_array(matrix.astype(np.float32), _ONNX_MATRIX))
    graph.initializer.append(numpy_helper.from_array(offset.astype(np.float32), "appearance_offset"))
    sides: dict[str, Any] = {"kernel_shape": [COARSENESS] * 2, "strides": [COARSENESS] * 2}
    graph.node.extend(
        [
            helper.make_node("AveragePool", [images.name], ["appearance_coarse"], **sides),
            helper.make_node("Flatten", ["appearance_coarse"], ["appearance_flat"], axis=1),
            helper.make_node(
                "Gemm", [f"appearance_{part}" for part in ("flat", "matrix", "offset")], ["appearance"], transB=1
            ),
            helper.make_node("Concat", [features.name, "appearance"], ["features_and_appearance"], axis=1),
        ]
    )
    joined = helper.make_tensor_value_info("features_and_appearance", onnx.TensorProto.FLOAT, None)
    del graph.output[:]
    graph.output.append(joined)
    with atomic_path(target) as temporary:
        onnx.save(model, temporary)


_WRITERS = {".onnx": _write_onnx, ".safetensors": _write_safetensors}
