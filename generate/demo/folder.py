"""A benchmark -> the folder of its demo page: networks as ONNX, demo.json, the page itself, onnxruntime-web.

``demo.json`` holds what the page needs besides the networks: the distributions of people and noise, the sliders'
directions, cosines of equal and of different people, and the command that draws a person in bulk. Vectors and matrices
are base64 of float32, little-endian. The page has no sizes as constants: it reads them from the ONNX files.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bench.config.benchmarks import Benchmark
from bench.config.generator import Vec2FaceGenerator, weight_path
from bench.errors import InputError, python_command
from bench.files import read_json_object, write_json
from bench.runs.inputs import is_rendered
from generate.demo.attributes import named_directions
from generate.demo.directions import (
    Direction,
    DrawnSample,
    draw_sample,
    in_batches,
    principal_directions,
    yaw_curve,
)
from generate.demo.population import Population, population
from generate.demo.runtime import VERSION as RUNTIME_VERSION
from generate.demo.runtime import copy_runtime
from generate.draw.dataset import weight_digests
from generate.draw.faces import vector_text
from generate.draw.plan import MASK_RATIO
from generate.export.generator import write_generator
from generate.export.identity import IdentityFeatures, write_identity
from generate.hub.provenance import weight_provenance
from generate.networks.circumstances import neutral_circumstances, yaw_scales
from generate.networks.estimators import identity_estimator, yaw_estimator
from generate.vec2face import Vec2Face, load_generator

DEMO_NAME, GENERATOR_NAME, IDENTITY_NAME = "demo.json", "generator.onnx", "identity.onnx"
FORMAT_VERSION = 3
"""Raised when demo.json or an ONNX file gets another form; folders of other versions are made anew."""
PAGE_PATH = Path(__file__).parent / "page"
_NUM_DIRECTIONS = 4
_RARE_SHARE = 0.99
_MAX_TURN_DEGREES = 60
"""Ends of the yaw slider where the generator takes the yaw as input."""


@dataclass(frozen=True)
class DemoSize:
    """How much is drawn and rendered to find the directions."""

    people: int = 320
    rendered_faces: int = 600


def make_demo(
    directory: Path, benchmark: Benchmark, *, weights: Path, command: str, size: DemoSize | None = None
) -> bool:
    """Write the folder of a benchmark's demo page; what is unchanged is not made again.

    Args:
        directory: The folder.
        benchmark: An entry with a Vec2Face generator.
        weights: Folder of downloaded weights, and of onnxruntime-web.
        command: Arguments of the command that draws a person in bulk; the page appends the vector to it.
        size: Number of images that the directions are found from.

    Returns:
        Whether networks and directions were made; False if those of the folder were kept.

    Raises:
        InputError: If the entry has another generator, a weight file is missing, or onnxruntime-web cannot be fetched.
    """
    settings = benchmark.generator
    if not isinstance(settings, Vec2FaceGenerator) or settings.source == "hub":
        raise InputError(
            f"benchmark {benchmark.name} draws no faces with a Vec2Face generator; give --scale another, such as smoke"
        )
    inputs: dict[str, Any] = {"format": FORMAT_VERSION, "command": python_command(command)}
    inputs |= {"settings": settings.model_dump(mode="json"), "digests": weight_digests(settings, weights)}
    directory.mkdir(parents=True, exist_ok=True)
    copy_runtime(weights, directory)
    for path in sorted(PAGE_PATH.iterdir()):
        shutil.copyfile(path, directory / path.name)
    description_path = directory / DEMO_NAME
    if description_path.is_file() and read_json_object(description_path).get("inputs") == inputs:
        return False
    description_path.unlink(missing_ok=True)
    description = _make_networks(directory, benchmark, settings, weights, size or DemoSize())
    write_json(description_path, description | {"inputs": inputs})
    return True


def _make_networks(
    directory: Path, benchmark: Benchmark, settings: Vec2FaceGenerator, weights: Path, size: DemoSize
) -> dict[str, Any]:
    """Write both ONNX files and return demo.json without its inputs."""
    generator = load_generator(weight_path(settings.generator_weights, weights))
    identity_path = weight_path(settings.identity_weights, weights)
    identity = IdentityFeatures(identity_path).eval()
    exported = write_generator(generator, directory / GENERATOR_NAME)
    write_identity(identity, directory / IDENTITY_NAME)
    people = population(settings, weights, exported.feature_dim)
    sample = draw_sample(generator, people, size.people)
    directions = _directions(benchmark, identity_path, sample, people, size)
    return {
        "name": benchmark.name,
        "about": benchmark.about,
        "runtime": RUNTIME_VERSION,
        "num_parameters": exported.num_parameters,
        "feature_dim": exported.feature_dim,
        "trained_on": _trained_on(settings, weights),
        "people": {"mean": vector_text(people.mean), "spread": _text(people.spread)},
        "noise": {"kind": people.noise_kind, "matrix": _text(people.noise), "sigma": people.sigma},
        "neutral": _neutral(people),
        "mask_ratio": asdict(MASK_RATIO),
        "yaw": _turning(generator, weight_path(settings.pose_weights, weights), sample, people),
        "directions": [_direction_entry(direction) for direction in directions],
        "cosines": _cosines(identity, sample),
    }


def _directions(
    benchmark: Benchmark, identity_path: Path, sample: DrawnSample, people: Population, size: DemoSize
) -> list[Direction]:
    """Named directions in the rendered world, whose attributes are known; principal ones for photographs."""
    if not all(is_rendered(name) for name in benchmark.protocols):
        return principal_directions(people, _NUM_DIRECTIONS)
    return named_directions(identity_estimator(identity_path), sample, people, size.rendered_faces)


def _cosines(identity: IdentityFeatures, sample: DrawnSample) -> dict[str, float]:
    """Mean cosine of two images of a person, and of two people; and the cosine that two people rarely exceed."""
    embeddings = F.normalize(in_batches(identity, sample.images).double(), dim=1).unflatten(0, (-1, 2))
    same = (embeddings[:, 0] * embeddings[:, 1]).sum(dim=1)
    between = embeddings[:, 0] @ embeddings[:, 1].T
    different = between[~torch.eye(len(between), dtype=torch.bool)]
    return {
        "same": round(same.mean().item(), 4),
        "different": round(different.mean().item(), 4),
        "rare": round(different.quantile(_RARE_SHARE).item(), 4),
    }


def _trained_on(settings: Vec2FaceGenerator, weights: Path) -> str | None:
    """Whose faces the generator was trained on, in the words of its card."""
    digests = weight_digests(settings, weights)
    return weight_provenance(settings, digests, weights)[settings.generator_weights].trained_on


def _neutral(people: Population) -> str | None:
    """The circumstances of a person's portrait, for a generator that takes circumstances."""
    return vector_text(neutral_circumstances()) if people.noise_kind == "circumstances" else None


def _turning(generator: Vec2Face, yaw_weights: Path, sample: DrawnSample, people: Population) -> dict[str, Any] | None:
    """How the page turns heads; None without a network of yaw, or if the generator turns no heads."""
    if people.noise_kind == "circumstances":
        first, scales = yaw_scales()
        return {"first": first, "scales": scales, "degrees": [-_MAX_TURN_DEGREES, _MAX_TURN_DEGREES]}
    if not yaw_weights.is_file():
        return None
    curve = yaw_curve(generator, yaw_estimator(yaw_weights), sample, people)
    return None if curve is None else asdict(curve) | {"vector": vector_text(curve.vector)}


def _direction_entry(direction: Direction) -> dict[str, str]:
    return asdict(direction) | {"vector": vector_text(direction.vector)}


def _text(matrix: NDArray[np.float32] | None) -> str | None:
    """Base64 of a matrix in row order; None for the identity matrix."""
    return None if matrix is None else vector_text(matrix)
