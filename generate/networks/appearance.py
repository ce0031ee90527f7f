"""An identity network and faces -> the same network with some numbers of appearance behind its features.

An identity network forgets light, pose, hair and background, so that a generator that sees its features alone can only
paint their average: a washed-out face. The numbers are the first principal components of the coarse image (eigenfaces,
Turk & Pentland 1991). In generation they are drawn together with the identity, and vary within a person as they do
between real images of one person. The result, a file of the network's own kind, is an identity model for every command.
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
from bench.files import atomic_path
from bench.machine.progress import progress
from bench.onnx_input import takes_bytes
from fr_train.checkpoint import read_backbone, save_backbone
from generate.networks.identity import COARSE_SIDE, COARSENESS, WithAppearance, load_features

_BATCH, _NORM_FACES = 256, 512


@dataclass(frozen=True)
class Appearance:
    """Where coarse faces lie and how they vary. Legend: P = 3 * 28 * 28 values in [-1, 1], K numbers."""

    mean: NDArray[np.float32]
    """Shape (P,)."""
    components: NDArray[np.float32]
    """Orthonormal, shape (K, P), the widest first."""
    variances: NDArray[np.float32]
    """Of the numbers, shape (K,)."""
    explained: float
    """Share of the variance of coarse faces that the components hold."""

    def numbers(self, coarse: NDArray[np.floating]) -> NDArray[np.float32]:
        """Coarse faces (N, P) -> their numbers (N, K)."""
        return ((coarse - self.mean) @ self.components.T).astype(np.float32)


def coarse_faces(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Faces (N, 112, 112, 3) -> channels, rows, columns of their averages over 4 x 4 pixels, in [-1, 1], (N, P)."""
    blocks = images.reshape(len(images), COARSE_SIDE, COARSENESS, COARSE_SIDE, COARSENESS, 3).mean(
        axis=(2, 4), dtype=np.float32
    )
    return (blocks / 127.5 - 1).transpose(0, 3, 1, 2).reshape(len(images), -1)


def measure_appearance(faces: Faces, num_numbers: int) -> Appearance:
    """Principal components of the coarse faces and their mirror images; memory does not grow with the faces.

    Raises:
        InputError: If there are fewer faces than numbers, or a face is not 112 x 112.
    """
    if len(faces) <= num_numbers:
        raise InputError(f"{len(faces)} faces cannot give {num_numbers} numbers of appearance; give more faces")
    size = 3 * COARSE_SIDE**2
    total, squares = np.zeros(size), np.zeros((size, size))
    with progress(desc="look at faces", total=len(faces)) as bar:
        for start in range(0, len(faces), _BATCH):
            images = np.stack([aligned_image(faces, i) for i in range(start, min(start + _BATCH, len(faces)))])
            for seen in (images, images[:, :, ::-1]):
                coarse = coarse_faces(seen).astype(np.float64)
                total += coarse.sum(axis=0)
                squares += coarse.T @ coarse
            bar.update(len(images))
    mean = total / (2 * len(faces))
    covariance = squares / (2 * len(faces)) - np.outer(mean, mean)
    variances, directions = eigh(covariance, subset_by_index=[size - num_numbers, size - 1])
    components = directions.T[::-1].copy()
    components *= _signs(components)
    return Appearance(
        mean=mean.astype(np.float32),
        components=components.astype(np.float32),
        variances=variances[::-1].astype(np.float32),
        explained=float(variances.sum() / covariance.trace()),
    )


def _signs(components: NDArray[np.floating]) -> NDArray[np.floating]:
    """1 or -1 for each of K components, shape (K, 1): its largest value in the left half of the face shall be positive.

    Faces and their mirror images have components that are their own mirror image or its negative. Over the whole face
    the largest value of the latter stands there twice, once with each sign, and rounding would choose.
    """
    left = components.reshape(-1, COARSE_SIDE, COARSE_SIDE)[:, :, : COARSE_SIDE // 2].reshape(len(components), -1)
    return np.sign(np.take_along_axis(left, np.abs(left).argmax(axis=1)[:, None], axis=1))


def add_appearance(
    network: str | Path, faces: Faces, out: str | Path, *, num_numbers: int, strength: float
) -> Appearance:
    """Write the network that gives its own features and, behind them, the numbers of appearance.

    Args:
        network: Identity network, RGB images of shape (B, 3, 112, 112) to features (B, D): ONNX, or our safetensors.
        faces: From which the components are measured, and how long features are.
        out: File of the same kind that appears: images to (B, D + num_numbers).
        num_numbers: How many numbers.
        strength: Mean norm of the numbers as a share of the mean norm of the features.

    Raises:
        InputError: If the network cannot be read or is of another kind than ``out``, or the faces do not fit.
    """
    network, out = Path(network), Path(out)
    if network.suffix != out.suffix or out.suffix not in _WRITERS:
        raise InputError(f"{network} -> {out}: give two .onnx, or two .safetensors")
    own = load_features(network)
    if isinstance(own, WithAppearance):
        raise InputError(f"{network} has numbers of appearance already; give the network without them")
    appearance = measure_appearance(faces, num_numbers)
    picked = np.linspace(0, len(faces) - 1, min(_NORM_FACES, len(faces))).astype(int)
    images = np.stack([aligned_image(faces, int(i)) for i in picked])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        norm = np.mean([own(part).norm(dim=1).mean().item() for part in pixels.split(32)])
    scale = float(strength * norm / np.linalg.norm(appearance.numbers(coarse_faces(images)), axis=1).mean())
    offset = (-scale * appearance.components @ appearance.mean).astype(np.float32)
    _WRITERS[out.suffix](network, appearance.components * scale, offset, out)
    return appearance


def _write_safetensors(network: Path, matrix: NDArray[np.float32], offset: NDArray[np.float32], out: Path) -> None:
    backbone, settings = read_backbone(network)
    joined = WithAppearance(backbone, len(offset))
    joined.appearance.load_state_dict({"weight": torch.from_numpy(matrix), "bias": torch.from_numpy(offset)})
    save_backbone(out, joined, settings)


def _write_onnx(network: Path, matrix: NDArray[np.float32], offset: NDArray[np.float32], out: Path) -> None:
    """The network's graph with a second branch: averages, one matrix, and both outputs side by side."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(network)
    graph: Any = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    images = next(value for value in graph.input if value.name not in weights)
    (features,) = graph.output
    if takes_bytes(graph):  # pixels / 127.5 - 1, worked into the matrix
        matrix, offset = matrix / 127.5, offset - matrix.sum(axis=1)
    graph.initializer.append(numpy_helper.from_array(matrix.astype(np.float32), "appearance_matrix"))
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
    with atomic_path(out) as temporary:
        onnx.save(model, temporary)


_WRITERS = {".onnx": _write_onnx, ".safetensors": _write_safetensors}
