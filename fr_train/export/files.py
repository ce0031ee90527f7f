"""A trained network -> files for others: ONNX and safetensors, checked to be the same network.

Both take and give what every network here does, ``INPUT`` and ``OUTPUT``, which the ONNX file also says of itself.

Legend: B faces, any number; D embedding dimension.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import InputError
from bench.faces.lmdb_file import FACE_SIZE
from bench.files import atomic_path
from bench.onnx_input import takes_bytes
from fr_train.checkpoint import load_backbone, read_backbone, save_backbone

FORMATS = ("onnx", "safetensors")
MAX_COSINE_DISTANCE = 1e-4
"""An exported file whose embedding of any random face is further from the source's is refused."""
INPUT_NAME, OUTPUT_NAME = "faces", "features"
INPUT = "faces aligned to the ArcFace template, RGB, (x - 127.5) / 127.5, float32 (B, 3, 112, 112)"
OUTPUT = "features before normalising, float32 (B, D); the embedding is features(face) + features(mirrored), length 1"
_CHECKED_BATCHES = (1, 7)  # two sizes, neither the one that the graph is traced with
_TRACED_BATCH = 2
_OPSET = 18


def export(weights: str | Path, directory: str | Path, formats: Sequence[str] = FORMATS) -> dict[str, float]:
    """Write a network in other formats, and compare each with the source on random faces.

    Args:
        weights: ``.safetensors`` of ours, or a released IResNet ``.pth``.
        directory: Gets ``model.onnx`` and ``model.safetensors``.
        formats: Which of ``FORMATS``.

    Returns:
        File name -> largest 1 - cosine between its embedding of a face and the source's.

    Raises:
        InputError: If the source is no such network, a package for ONNX is absent, or a file gives other embeddings.
    """
    network, settings = read_backbone(weights)
    distances = {}
    for form in formats:
        path = Path(directory) / f"model.{form}"
        if form == "onnx":
            write_onnx(path, network)
        else:
            save_backbone(path, network, settings)
        reread = onnx_network(path) if form == "onnx" else load_backbone(path)
        distances[path.name] = _checked(path, network, reread)
    return distances


def write_onnx(path: Path, network: nn.Module) -> None:
    """Write a network in eval mode as one ONNX file with a free batch axis.

    Raises:
        InputError: If onnx or onnxscript is absent.
    """
    try:
        import onnx  # noqa: F401 (torch's exporter needs both)
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise _absent(path, error) from None
    faces = torch.zeros(_TRACED_BATCH, 3, FACE_SIZE, FACE_SIZE)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
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
        raise InputError(f"{path.name} would be taken for one that normalises by itself; export safetensors alone")
    program.model.metadata_props.update({INPUT_NAME: INPUT, OUTPUT_NAME: OUTPUT})  # type: ignore[union-attr]
    with atomic_path(path) as temporary:
        program.save(temporary, external_data=False)  # type: ignore[union-attr]


def onnx_network(path: Path) -> Callable[[Tensor], Tensor]:
    """An ONNX network as a function: (B, 3, 112, 112) in [-1, 1] -> features (B, D).

    Raises:
        InputError: If onnxruntime is absent.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _absent(path, error) from None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda faces: torch.from_numpy(session.run([OUTPUT_NAME], {INPUT_NAME: faces.numpy()})[0])


def _absent(path: Path, error: ImportError) -> InputError:
    return InputError(f"{path.name} needs {error.name}; run .venv/bin/pip install -e '.[onnx]'")


@torch.no_grad()
def _checked(path: Path, network: nn.Module, reread: Callable[[Tensor], Tensor]) -> float:
    """Largest 1 - cosine over random faces.

    Raises:
        InputError: If it exceeds ``MAX_COSINE_DISTANCE``, or is not a number.
    """
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for num_faces in _CHECKED_BATCHES:
        faces = torch.rand(num_faces, 3, FACE_SIZE, FACE_SIZE, generator=generator) * 2 - 1
        cosine = F.cosine_similarity(network(faces).double(), reread(faces).double())
        distance = float((1 - cosine).abs().max())
        if not distance <= MAX_COSINE_DISTANCE:
            raise InputError(
                f"{path.name} gives other embeddings than its source: 1 - cosine up to {distance:.1e} on random faces, "
                f"must be at most {MAX_COSINE_DISTANCE:g}; nothing is written, export with other versions of torch"
            )
        worst = max(worst, distance)
    return worst
