"""Generated faces against the identities that the generator was trained on: ``generate leakage``.

Every generated *face* is compared with the centre of every training identity, in blocks of constant memory. (A
comparison of centres misses single faces: HaiyuWu/Vec2Face, issue 16.) The threshold is how near real faces come to the
centre of the nearest *other* identity. As in VIGFace, generated faces should not come nearer than that.

In: generated faces, and a folder of ``generate prepare``. Out: leakage.json, leakage.png, and kept.npy with the
positions of the faces to keep, which ``mask:`` of a files generator reads.

Shapes: ``N`` generated faces, ``M`` real faces, ``C`` training identities, ``D`` width of the features.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import Faces
from bench.faces.open import open_faces
from bench.files import atomic_path, read_json_object, write_array, write_json
from bench.machine.progress import progress
from bench.vectors.nearest import nearest_centers
from generate.networks.identity import IdentityNetwork, load_identity_network
from generate.networks.over_faces import outputs_over_faces
from generate.training.data import open_training_set
from generate.training.prepared.prepare import CENTERS_NAME, LMDB_NAME, PREPARED_NAME

REAL_QUANTILE = 0.999
"""Share of the real faces whose cosine to other identities is below the default threshold."""
_QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
_NUM_WORST = 50
_MAX_REAL_FACES = 100_000
_BATCH = 64


@dataclass(frozen=True)
class NearFace:
    """A generated face and the training identity nearest to it."""

    face: int
    """Position among the generated faces."""
    identity_id: int
    """Its generated identity."""
    trained_identity: int
    cosine: float


@dataclass(frozen=True)
class LeakageReport:
    """Figures of leakage.json; cosines are rounded to four decimals."""

    max_cosine: float
    """Faces with a higher cosine to a training identity are dropped."""
    num_images: int
    num_dropped: int
    num_identities_with_drops: int
    generated_to_nearest_trained: dict[str, float]
    """Mean and quantiles of the cosines of generated faces."""
    real_to_nearest_other: dict[str, float]
    """Mean and quantiles of the cosines of real faces to the nearest other identity."""
    share_of_real_above: float
    """Share of these real faces above ``max_cosine``."""
    worst: list[NearFace]
    """The 50 faces with the highest cosines."""


def check_leakage(
    faces_path: Path,
    prepared: Path,
    identity_weights: Path,
    directory: Path,
    *,
    max_cosine: float | None = None,
    device: str = "cpu",
) -> LeakageReport:
    """Check a generated dataset and write leakage.json, leakage.png and kept.npy.

    Args:
        faces_path: Generated faces, LMDB or folder by identity.
        prepared: Folder of ``generate prepare`` that the generator was trained on.
        identity_weights: Weights of the network that computed the features of ``prepared``.
        directory: Folder of the three files.
        max_cosine: Faces with a higher cosine to a training identity are dropped. By default the 0.999 quantile of the
            cosines of real faces to the nearest other identity.
        device: Torch device of the network and of the matrix products.

    Returns:
        The report. leakage.json holds it, with the name of the faces and the content of prepared.json.

    Raises:
        InputError: If a file is missing, or the network's features and the centres differ in width.
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
    picked = np.linspace(0, len(real) - 1, min(_MAX_REAL_FACES, len(real))).astype(int)
    real_features = np.stack([real.features(int(index)) for index in progress(picked, desc="real features")])
    real_cosines, _ = nearest_centers(real_features, centers, own=real.identity_ids[picked], device=device)
    cosines, nearest = nearest_centers(_embed(network, faces, device), centers, device=device)
    report, positions = leakage_report(cosines, nearest, real_cosines, faces.identity_ids, max_cosine=max_cosine)
    write_array(directory / "kept.npy", positions)
    plot_cosines(directory / "leakage.png", cosines, real_cosines, report.max_cosine)
    names = {"faces": faces_path.name, "trained_on": read_json_object(prepared / PREPARED_NAME)}
    write_json(directory / "leakage.json", asdict(report) | names)
    return report


def leakage_report(
    cosines: NDArray[np.float32],
    nearest: NDArray[np.int64],
    real_cosines: NDArray[np.float32],
    identity_ids: NDArray[np.int64],
    *,
    max_cosine: float | None = None,
) -> tuple[LeakageReport, NDArray[np.int64]]:
    """The report, and the positions of the faces to keep, ascending.

    Args:
        cosines: Cosine of every generated face to the nearest training identity, shape (N,).
        nearest: Number of that identity, shape (N,).
        real_cosines: Cosine of real faces to the nearest other identity, shape (M,).
        identity_ids: Identity of every generated face, shape (N,).
        max_cosine: Faces with a higher cosine are dropped; by default the ``REAL_QUANTILE`` of ``real_cosines``.
    """
    threshold = float(np.quantile(real_cosines, REAL_QUANTILE)) if max_cosine is None else max_cosine
    worst = np.argsort(-cosines, kind="stable")[:_NUM_WORST]
    positions = np.flatnonzero(cosines <= threshold)
    dropped_identities = np.unique(identity_ids[cosines > threshold])
    report = LeakageReport(
        max_cosine=round(threshold, 6),
        num_images=len(cosines),
        num_dropped=len(cosines) - len(positions),
        num_identities_with_drops=len(dropped_identities),
        generated_to_nearest_trained=_describe(cosines),
        real_to_nearest_other=_describe(real_cosines),
        share_of_real_above=round(float((real_cosines > threshold).mean()), 6),
        worst=[NearFace(int(i), int(identity_ids[i]), int(nearest[i]), round(float(cosines[i]), 4)) for i in worst],
    )
    return report, positions


def plot_cosines(path: Path, cosines: NDArray[np.float32], real_cosines: NDArray[np.float32], threshold: float) -> None:
    """Write a PNG with the distribution of both cosines and the threshold.

    Args:
        path: The file to write.
        cosines: Of generated faces to the nearest training identity, shape (N,).
        real_cosines: Of real faces to the nearest other identity, shape (M,).
        threshold: Faces with a higher cosine are dropped.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    bins = np.linspace(min(cosines.min(), real_cosines.min()), max(cosines.max(), real_cosines.max()), 80).tolist()
    axes.hist(real_cosines, bins=bins, density=True, histtype="step", label="real face to nearest other identity")
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
