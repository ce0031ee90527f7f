"""Export of a trained network: its weight file in, ONNX and safetensors out.

Both formats are read again, and their embeddings compared with those of the source. Input and output are as for every
network here, see ``INPUT`` and ``OUTPUT``; the ONNX file states them in its metadata.

Legend: B number of faces, D embedding dimension.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import InputError
from bench.faces.face import FACE_SIZE
from bench.files import atomic_path
from bench.onnx_input import takes_bytes
from fr_train.checkpoint import load_backbone, read_backbone, save_backbone

FORMATS = ("onnx", "safetensors")
MAX_COSINE_DISTANCE = 1e-4
"""Largest allowed 1 - cosine between an embedding of an exported file and that of the source."""
INPUT_NAME, OUTPUT_NAME = "faces", "features"
INPUT = "faces aligned to the ArcFace template, RGB, (x - 127.5) / 127.5, float32 (B, 3, 112, 112)"
OUTPUT = "features before normalising, float32 (B, D); the embedding is features(face) + features(mirrored), length 1"
_CHECKED_BATCHES = (1, 7)  # sizes other than the traced one, to test that the file accepts any batch size
_TRACED_BATCH = 2
_OPSET = 18


def export(weights: str | Path, directory: str | Path, formats: Sequence[str] = FORMATS) -> dict[str, float]:
    """Write a network in other formats, and compare each with the source on random faces.

    Args:
        weights: Our ``.safetensors``, or a released network (``fr_train.released``).
        directory: Receives ``model.onnx`` and ``model.safetensors``.
        formats: Formats to write, out of ``FORMATS``.

    Returns:
        File name -> largest 1 - cosine between the embeddings of that file and of the source.

    Raises:
        InputError: If the source cannot be read, a package for ONNX is not installed, or the embeddings of a file
            differ from those of the source.
    """
    network, settings = read_backbone(weights)
    distances = {}
    for name in formats:
        path = Path(directory) / f"model.{name}"
        exported: Callable[[Tensor], Tensor]
        if name == "onnx":
            write_onnx(path, network)
            exported = onnx_network(path)
        else:
            save_backbone(path, network, settings)
            exported = load_backbone(path)
        distances[path.name] = _check_embeddings(path, network, exported)
    return distances


def write_onnx(path: Path, network: nn.Module) -> None:
    """Write a network in eval mode as one ONNX file that accepts any batch size.

    Raises:
        InputError: If onnx or onnxscript is not installed.
    """
    try:
        import onnx  # noqa: F401 (torch's exporter needs both)
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise _missing_package(path, error) from None
    faces = torch.zeros(_TRACED_BATCH, 3, FACE_SIZE, FACE_SIZE)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            network,
            (faces,),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=_OPSET,
            verbose=False,
        )
    if takes_bytes(program.model_proto.graph):  # type: ignore[union-attr]
        raise InputError(
            f"{path.name} begins with operations that look like a normalisation of 0..255; readers would feed 0..255; "
            "export safetensors alone"
        )
    program.model.metadata_props.update({INPUT_NAME: INPUT, OUTPUT_NAME: OUTPUT})  # type: ignore[union-attr]
    with atomic_path(path) as temporary:
        program.save(temporary, external_data=False)  # type: ignore[union-attr]


def onnx_network(path: Path) -> Callable[[Tensor], Tensor]:
    """The network in an ONNX file as a function: faces (B, 3, 112, 112) in [-1, 1] -> features (B, D).

    Raises:
        InputError: If onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing_package(path, error) from None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda faces: torch.from_numpy(session.run([OUTPUT_NAME], {INPUT_NAME: faces.numpy()})[0])


def _missing_package(path: Path, error: ImportError) -> InputError:
    return InputError(f"{path.name} needs {error.name}; run .venv/bin/pip install -e '.[onnx]'")


@torch.no_grad()
def _check_embeddings(path: Path, network: nn.Module, exported: Callable[[Tensor], Tensor]) -> float:
    """Largest 1 - cosine between the features of both networks on random faces.

    Raises:
        InputError: If it exceeds ``MAX_COSINE_DISTANCE`` or is NaN.
    """
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for num_faces in _CHECKED_BATCHES:
        faces = torch.rand(num_faces, 3, FACE_SIZE, FACE_SIZE, generator=generator) * 2 - 1
        cosine = F.cosine_similarity(network(faces).double(), exported(faces).double())
        distance = float((1 - cosine).abs().max())
        if not distance <= MAX_COSINE_DISTANCE:
            raise InputError(
                f"{path.name} gives other embeddings than its source: 1 - cosine up to {distance:.1e} on random faces, "
                f"must be at most {MAX_COSINE_DISTANCE:g}; nothing is written; export with another version of torch"
            )
        largest = max(largest, distance)
    return largest
