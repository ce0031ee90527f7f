"""Numbers of people and images -> a training set of rendered faces whose features hold their circumstances.

| file | holds | for |
|---|---|---|
| faces.lmdb | every face with its feature: identity features, then circumstances | ``generate train`` |
| centers.npy | mean identity feature of a person, then zeros, (P, D) | ``identities: pca`` of a generator |
| differences.npy | identity feature less centre, then circumstances, of some faces, (M, D) | ``perturbation`` |
| rendered.json | settings, counts and digests | |

The faces are rendered once, in parts that a killed command does not render again. A row of differences.npy is that of
one rendered image, so that light, pose and expression of a new image go together as the renderer draws them, and as
they change the identity features. Lens blur and sensor noise are set to none: new images are clear.

Shapes: ``N`` faces, ``P`` people, ``D`` width of the features, ``C`` of them circumstances.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import decode_image
from bench.faces.lmdb_file import FaceWriter, LmdbFaces
from bench.files import read_json_object, sha256, write_array, write_json
from bench.machine.digests import remembered_sha256
from bench.machine.progress import progress
from generate.networks.circumstances import NUM_CIRCUMSTANCES, encode, with_clear_view
from generate.networks.identity import load_identity_network
from generate.networks.over_faces import outputs_over_faces
from generate.render.dataset import check_range, render_with_alignment
from generate.render.face import IDENTITIES_PER_SEED, factor_table
from generate.training.prepared.prepare import CENTERS_NAME, LMDB_NAME
from generate.training.prepared.variation import DIFFERENCES_NAME, centers_and_differences

RENDERED_NAME = "rendered.json"
_PART_FACES = 2000
_BATCH = 64
_MAX_ROWS = 2000
"""Most rows of centers.npy and of differences.npy, evenly spread over people and faces; they are shipped."""


@dataclass(frozen=True)
class RenderedPeople:
    """Whom to render, and the network that computes the identity features."""

    num_identities: int
    images_per_identity: int
    seed: int
    """Seed of the people, as for rendered datasets: the same seed shows the same people."""
    identity_weights: Path
    """Weights of the identity network. Components of appearance behind its features are left out."""


def render_training_set(people: RenderedPeople, directory: str | Path) -> dict[str, Any]:
    """Write a training set; resume where an interrupted command stopped.

    Args:
        people: Whom to render.
        directory: Gets the files of the table above.

    Returns:
        The content of rendered.json.

    Raises:
        InputError: If there are fewer than two images of a person or two people, the seed leaves the range of datasets,
            the folder holds parts of other settings, or the network cannot be read.
    """
    directory = Path(directory)
    inputs = _checked_inputs(people)
    if (directory / RENDERED_NAME).exists():
        _refuse_other_inputs(directory / RENDERED_NAME, inputs)
        return read_json_object(directory / RENDERED_NAME)
    settings_path = directory / "parts" / "settings.json"
    if settings_path.exists():
        _refuse_other_inputs(settings_path, inputs)
    else:
        write_json(settings_path, inputs)
    features, identity_ids = _join_parts(_write_parts(people, directory / "parts"), directory / LMDB_NAME)
    centers, differences = split_features(features, identity_ids)
    for name, rows in ((CENTERS_NAME, centers), (DIFFERENCES_NAME, differences)):
        write_array(directory / name, _spread_rows(rows).astype(np.float16))
    rendered = inputs | {
        "num_images": len(features),
        "feature_dim": features.shape[1],
        "num_circumstances": NUM_CIRCUMSTANCES,
        "lmdb_sha256": sha256(directory / LMDB_NAME),
    }
    write_json(directory / RENDERED_NAME, rendered)
    shutil.rmtree(directory / "parts")
    return rendered


def split_features(
    features: NDArray[np.float32], identity_ids: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres (P, D) of people, zero in the circumstances, and what each face adds to its centre, (N, D).

    The sum of a centre and of a row of the differences is a feature. Differences of identity features are scaled as
    ``variation.centers_and_differences`` does; the circumstances are those of the face, without blur and noise.

    Args:
        features: Identity features and circumstances per face, shape (N, D).
        identity_ids: Person per face, shape (N,).
    """
    identity, circumstances = features[:, :-NUM_CIRCUMSTANCES], features[:, -NUM_CIRCUMSTANCES:]
    centers, differences = centers_and_differences(identity, identity_ids, min_faces=2)
    zeros = np.zeros((len(centers), NUM_CIRCUMSTANCES), np.float32)
    rows = np.concatenate([differences, with_clear_view(circumstances)], axis=1)
    return np.concatenate([centers, zeros], axis=1), rows


def _checked_inputs(people: RenderedPeople) -> dict[str, Any]:
    """The settings as JSON, with the digest of the network."""
    check_range(people.seed, people.num_identities)
    if people.num_identities < 2 or people.images_per_identity < 2:
        raise InputError(
            f"{people.num_identities} people with {people.images_per_identity} images each are too few to learn from; "
            "give at least two of both"
        )
    if not people.identity_weights.is_file():
        raise InputError(f"identity network {people.identity_weights} does not exist; give a .safetensors file")
    digest = {"identity_weights": people.identity_weights.name}
    return asdict(people) | digest | {"identity_sha256": remembered_sha256(people.identity_weights)}


def _refuse_other_inputs(path: Path, inputs: dict[str, Any]) -> None:
    before = read_json_object(path)
    for name, value in inputs.items():
        if before.get(name) != value:
            raise InputError(
                f"{path} was made with {name}={before.get(name)}, this call has {value}; delete the folder, or choose "
                "another"
            )


def _write_parts(people: RenderedPeople, directory: Path) -> list[Path]:
    """Render the parts that do not exist yet; the paths of all, in order."""
    per_part = max(1, _PART_FACES // people.images_per_identity)
    starts = range(0, people.num_identities, per_part)
    parts = {
        directory / f"faces-{start:07d}.lmdb": range(start, min(start + per_part, people.num_identities))
        for start in starts
    }
    missing = [path for path in parts if not path.exists()]
    network = load_identity_network(people.identity_weights, with_appearance=False) if missing else None
    total = people.num_identities * people.images_per_identity
    to_do = sum(len(parts[path]) for path in missing) * people.images_per_identity
    with progress(desc="render", total=total, initial=total - to_do) as bar:
        for path in missing:
            identity_ids = np.repeat(np.asarray(parts[path]), people.images_per_identity)
            images = np.tile(np.arange(people.images_per_identity), len(parts[path]))
            table = factor_table((identity_ids + people.seed * IDENTITIES_PER_SEED).tolist(), images.tolist())
            encoded, alignment = [], []
            for jpeg, error in render_with_alignment(table):
                encoded.append(jpeg)
                alignment.append(error)
                bar.update(1)
            faces = np.stack([decode_image(jpeg, path.name) for jpeg in encoded])
            factors = {str(name): table[name].to_numpy() for name in table}
            circumstances = encode(factors, np.stack(alignment), faces)
            identity = outputs_over_faces(network, faces, batch_size=_BATCH)  # type: ignore[arg-type]
            features = np.concatenate([identity, circumstances], axis=1)
            with FaceWriter(path) as writer:
                for jpeg, identity_id, feature in zip(encoded, identity_ids, features, strict=True):
                    writer.write(jpeg, int(identity_id), feature)
    return list(parts)


def _join_parts(parts: list[Path], path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Write the faces of all parts into one LMDB. Returns their features, (N, D), and people, (N,)."""
    features, identity_ids = [], []
    with FaceWriter(path) as writer:
        for part in parts:
            faces = LmdbFaces(part)
            for index, name in enumerate(faces.identity_ids):
                identity_id = int(faces.identity_names[name])
                features.append(faces.features(index))
                identity_ids.append(identity_id)
                writer.write(faces.encoded(index), identity_id, features[-1])
    return np.stack(features), np.asarray(identity_ids)


def _spread_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows[np.linspace(0, len(rows) - 1, min(_MAX_ROWS, len(rows))).astype(int)]
