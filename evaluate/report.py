"""The leaderboard as one HTML page: sortable tables, curves, histograms and sample grids, all inside the file."""

import base64
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, select_autoescape
from numpy.typing import NDArray
from PIL import Image

from bench.cards import ModelCard, ResultCard, read_card
from evaluate.leaderboard import PublishedRow, Row, Table, cells, heading, published_cells
from evaluate.scores import read_scores

_TEMPLATES = Path(__file__).parent / "templates"
_GRID_WIDTH = 760
_CURVE_POINTS = 160


def render_html(tables: Sequence[Table], published: Sequence[PublishedRow], runs: Path) -> str:
    """The page.

    Args:
        tables: The rows, grouped by protocols.
        published: Rows of the literature, shown apart.
        runs: Where scores.npz and grid.png of the results lie; what is not there is left out.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    sections = [
        {
            "table": table,
            "rows": [(row, cells(table, row)) for row in table.rows],
            "details": [detail for row in table.rows if (detail := _detail(row, runs))],
        }
        for table in tables
    ]
    return environment.get_template("leaderboard.html").render(
        sections=sections,
        published=[published_cells(row) for row in published],
        points=_published_points(published),
        path=partial(_svg_path, width=220, height=150),
    )


def _detail(row: Row, runs: Path) -> dict[str, Any] | None:
    """Figures of one row: its sample grid, and for each protocol the ROC and the score histograms."""
    result = row.first
    directory = runs / result.scale / "results" / result.fingerprint
    if result.row == "floor" or not (directory / "scores.npz").exists():
        return None
    figures = [
        {
            "name": heading(name),
            "accuracy": f"{100 * result.protocols[name].accuracy:.2f}",
            "roc": roc_points(arrays["scores"], arrays["is_genuine"]),
            "histograms": histograms(arrays["scores"], arrays["is_genuine"]),
        }
        for name, arrays in read_scores(directory / "scores.npz").items()
    ]
    grid = _grid_path(result, runs)
    return {"result": result, "figures": figures, "grid": _data_uri(grid) if grid else None}


def roc_points(scores: NDArray, is_genuine: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Points of the ROC, x: log10 of the false accept rate from 1e-3 to 1 mapped to 0..1, y: true accept rate."""
    genuine, impostor = np.sort(scores[is_genuine]), np.sort(scores[~is_genuine])
    if not genuine.size or not impostor.size:
        return []
    rates = np.logspace(-3, 0, _CURVE_POINTS)
    allowed = np.floor(rates * impostor.size + 1e-9).astype(int)
    thresholds = np.where(allowed < impostor.size, impostor[::-1][np.minimum(allowed, impostor.size - 1)], -np.inf)
    accepted = 1 - np.searchsorted(genuine, thresholds, side="right") / genuine.size
    return [(float(1 + np.log10(rate) / 3), float(tar)) for rate, tar in zip(rates, accepted, strict=True)]


def histograms(
    scores: NDArray, is_genuine: NDArray[np.bool_], num_bins: int = 48
) -> dict[str, list[tuple[float, float]]]:
    """Outlines of the genuine and impostor score histograms over cosine -1 to 1; the higher peak is 1."""
    edges = np.linspace(-1, 1, num_bins + 1)
    counts = {
        name: np.histogram(np.clip(scores[chosen], -1, 1), edges)[0] / max(1, chosen.sum())
        for name, chosen in (("genuine", is_genuine), ("impostor", ~is_genuine))
    }
    peak = max(float(values.max()) for values in counts.values()) or 1.0
    position = np.repeat((edges + 1) / 2, 2)[1:-1]
    return {
        name: [(float(x), float(y)) for x, y in zip(position, np.repeat(values / peak, 2), strict=True)]
        for name, values in counts.items()
    }


def _svg_path(points: Sequence[tuple[float, float]], *, width: float, height: float, closed: bool = False) -> str:
    """Points in the unit square as the ``d`` of an SVG path; y points up."""
    steps = " L".join(f"{x * width:.1f} {(1 - y) * height:.1f}" for x, y in points)
    if not steps:
        return ""
    return f"M0 {height} L{steps} L{width} {height} Z" if closed else f"M{steps}"


def _published_points(published: Sequence[PublishedRow]) -> list[dict[str, Any]]:
    """Published averages against the number of images, on a log axis from 1e5 to 1e8."""
    return [
        {
            "x": (np.log10(row.num_images) - 5) / 3,
            "y": (row.average - 70) / 30,
            "name": row.dataset,
            "average": row.average,
            "is_real": "real" in row.dataset.lower(),
            "is_hsface": row.dataset.startswith("HSFace"),
        }
        for row in published
        if row.average and row.num_images and row.average >= 70 and row.num_images >= 1e5
    ]


def _grid_path(result: ResultCard, runs: Path) -> Path | None:
    """The sample grid of the dataset behind a result."""
    root = runs / result.scale
    model_path = root / "models" / str(result.inputs.get("model")) / "model.json"
    if not model_path.exists():
        return None
    path = root / "faces" / str(read_card(model_path, ModelCard).inputs.get("dataset")) / "grid.png"
    return path if path.exists() else None


def _data_uri(path: Path) -> str | None:
    try:
        picture = Image.open(path).convert("RGB")
    except OSError:
        return None
    picture.thumbnail((_GRID_WIDTH, 10_000))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
