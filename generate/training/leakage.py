"""Generated faces against the identities that the generator was trained on: who came too near to whom.

Every generated *face* is compared with every training identity's centre (comparing centres with centres misses what
HaiyuWu/Vec2Face issue 16 found), in blocks, in constant memory. Beside it stands what is natural: how near real faces
come to the centre of the nearest *other* identity. As in VIGFace, generated faces shall not come nearer than that.

In: features of generated faces, and a folder of ``generate prepare``. Out: leakage.json, leakage.png and kept.npy, the
positions of the faces to keep, which ``mask:`` of a files generator reads.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.lmdb_file import Faces, open_faces
from bench.files import atomic_path, read_json, write_array, write_json
from bench.machine.progress import progress
from bench.vectors.nearest import nearest_centers
from generate.networks.identity import IdentityNetwork, load_identity_network
from generate.networks.over_faces import outputs_over_faces
from generate.training.data import open_training_set
from generate.training.prepare import CENTERS_NAME, LMDB_NAME, PREPARED_NAME

NATURAL_QUANTILE = 0.999
"""Share of real faces that lie below the default threshold."""
_QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
_NUM_WORST = 50
_MOST_REAL = 100_000
_BATCH = 64


def check_dataset(
    faces_path: Path,
    prepared: Path,
    identity_weights: Path,
    directory: Path,
    *,
    max_cosine: float | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Check a generated dataset and write leakage.json, leakage.png and kept.npy.

    Args:
        faces_path: Generated faces, LMDB or folder by identity.
        prepared: Folder of ``generate prepare`` that the generator was trained on.
        identity_weights: The network that gave its features.
        directory: Where the files go.
        max_cosine: Faces above it are dropped; by default the cosine that all but a thousandth of the real faces stay
            below towards the nearest other identity.
        device: Torch device of the network and of the products.

    Returns:
        The content of leakage.json.

    Raises:
        InputError: If a file is missing, or the network's width is not that of the centres.
    """
    if not (prepared / PREPARED_NAME).exists():
        raise InputError(f"{prepared} holds no {PREPARED_NAME}; give a folder that generate prepare has finished")
    centers = np.load(prepared / CENTERS_NAME)
    network = load_identity_network(identity_weights, device)
    if network.feature_dim != centers.shape[1]:
        raise InputError(
            f"{identity_weights} gives features of width {network.feature_dim}, but {prepared / CENTERS_NAME} has "
            f"{centers.shape[1]}; give the network of generate prepare"
        )
    faces = open_faces(faces_path)
    real = open_training_set(prepared / LMDB_NAME)
    some = np.linspace(0, len(real) - 1, min(_MOST_REAL, len(real))).astype(int)
    real_features = np.stack([real.features(int(index)) for index in progress(some, desc="real features")])
    natural, _ = nearest_centers(real_features, centers, own=real.identity_ids[some], device=device)
    cosines, nearest = nearest_centers(_embed(network, faces, device), centers, device=device)
    report, kept = judge(cosines, nearest, natural, faces.identity_ids, max_cosine=max_cosine)
    report |= {"faces": faces_path.name, "trained_on": read_json(prepared / PREPARED_NAME)}
    write_array(directory / "kept.npy", kept)
    draw(directory / "leakage.png", cosines, natural, report["max_cosine"])
    write_json(directory / "leakage.json", report)
    return report


def judge(
    cosines: NDArray[np.float32],
    nearest: NDArray[np.int64],
    natural: NDArray[np.float32],
    identity_ids: NDArray[np.int64],
    *,
    max_cosine: float | None = None,
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """The report, and the positions of the faces to keep, ascending.

    Args:
        cosines: Of every generated face to the nearest training identity, shape (N,).
        nearest: Which identity that is, shape (N,).
        natural: Of real faces to the nearest other identity, shape (M,).
        identity_ids: Identity of every generated face, shape (N,).
        max_cosine: Faces above it are dropped; by default the ``NATURAL_QUANTILE`` of ``natural``.
    """
    threshold = float(np.quantile(natural, NATURAL_QUANTILE)) if max_cosine is None else max_cosine
    worst = np.argsort(-cosines, kind="stable")[:_NUM_WORST]
    kept = np.flatnonzero(cosines <= threshold)
    dropped_identities = np.unique(identity_ids[cosines > threshold])
    report = {
        "max_cosine": round(threshold, 6),
        "num_images": len(cosines),
        "num_dropped": len(cosines) - len(kept),
        "num_identities_with_drops": len(dropped_identities),
        "generated_to_nearest_trained": _describe(cosines),
        "real_to_nearest_other": _describe(natural),
        "share_of_real_above": round(float((natural > threshold).mean()), 6),
        "worst": [
            {
                "face": int(index),
                "identity_id": int(identity_ids[index]),
                "trained_identity": int(nearest[index]),
                "cosine": round(float(cosines[index]), 4),
            }
            for index in worst
        ],
    }
    return report, kept


def draw(path: Path, cosines: NDArray[np.float32], natural: NDArray[np.float32], threshold: float) -> None:
    """Both distributions in one picture; the PNG appears whole."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    bins = np.linspace(min(cosines.min(), natural.min()), max(cosines.max(), natural.max()), 80).tolist()
    axes.hist(natural, bins=bins, density=True, histtype="step", label="real face to nearest other identity")
    axes.hist(cosines, bins=bins, density=True, histtype="step", label="generated face to nearest trained identity")
    axes.axvline(threshold, color="black", linestyle=":", label=f"dropped above {threshold:.3f}")
    axes.set(xlabel="cosine", ylabel="density", yticks=[])
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _embed(network: IdentityNetwork, faces: Faces, device: str) -> NDArray[np.float32]:
    """Un-normalised features of all faces, shape (N, D)."""
    with progress(desc="features", total=len(faces)) as bar:
        return outputs_over_faces(network, faces, batch_size=_BATCH, device=device, on_done=bar.update)


def _describe(cosines: NDArray[np.float32]) -> dict[str, float]:
    quantiles = np.quantile(cosines, _QUANTILES)
    named = {f"quantile_{q:g}": round(float(value), 4) for q, value in zip(_QUANTILES, quantiles, strict=True)}
    return {"mean": round(float(cosines.mean()), 4)} | named
