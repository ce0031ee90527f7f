"""Committed results and sample faces -> reports/overview.png, the picture of README.md.

Run it from the repository's root: ``.venv/bin/python reports/make_overview.py``. Left: faces of invented people from
``reports/results/{smoke,mini}.jpg``, one person per row. Right: mean accuracies from ``reports/results/*.json``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

REPORTS = Path(__file__).parent
SAMPLE_SIZE = 80
"""Pixels from one face of a published sample grid to the next."""
SAMPLES = (
    ("smoke", (1, 6, 11), "Invented people, one per row (make benchmark)"),
    ("mini", (1, 7, 10), "Invented people, by a generator trained on LFW"),
)
"""Name of a published sample grid, the rows that are shown, and the title above them."""
NUM_COLUMNS = 6
GENERATED, REAL, FLOOR = "#0b62a4", "#c0392b", "#8a8f98"
TEXT, FAINT = "#1c2733", "#5b6570"


@dataclass(frozen=True)
class Bar:
    """One line of the right side."""

    label: str
    results: tuple[str, ...]
    """Names of result cards in reports/results, one per seed."""
    colour: str

    def accuracy(self) -> tuple[float, float]:
        """Mean accuracy and its spread, in per cent: the standard error of one seed, or the deviation over several."""
        cards = [json.loads((REPORTS / "results" / f"{name}.json").read_text()) for name in self.results]
        means = [100 * card["mean_accuracy"] for card in cards]
        return fmean(means), stdev(means) if len(means) > 1 else 100 * cards[0]["mean_standard_error"]


BLOCKS = (
    (
        "Tested on rendered heads: five protocols (make benchmark)",
        "three seeds ± their deviation (no training: one, ± standard error)",
        (
            Bar(
                "4,480 rendered faces of 280 people",
                ("smoke_reference", "smoke_reference_seed1", "smoke_reference_seed2"),
                REAL,
            ),
            Bar("4,480 generated faces of 280 invented people", ("smoke", "smoke_seed1", "smoke_seed2"), GENERATED),
            Bar("no training: raw pixels", ("smoke_raw_pixels",), FLOOR),
            Bar("no training: random weights", ("smoke_untrained_backbone",), FLOOR),
        ),
    ),
    (
        "Tested on photographs: CFP-FP and CFP-FF",
        "three seeds ± their deviation (no training: one, ± standard error)",
        (
            Bar("29,906 generated faces of 1,500 invented people", ("mini", "mini_seed1", "mini_seed2"), GENERATED),
            Bar(
                "10,407 photographs of 5,548 people (LFW)",
                ("mini_reference", "mini_reference_seed1", "mini_reference_seed2"),
                REAL,
            ),
            Bar("no training: raw pixels", ("mini_raw_pixels",), FLOOR),
            Bar("no training: random weights", ("mini_untrained_backbone",), FLOOR),
        ),
    ),
)


def sample_faces(name: str, rows: tuple[int, ...]) -> Image.Image:
    """Some rows of a published sample grid, cut out."""
    grid = Image.open(REPORTS / "results" / f"{name}.jpg")
    width = NUM_COLUMNS * SAMPLE_SIZE
    picture = Image.new("RGB", (width, len(rows) * SAMPLE_SIZE), "white")
    for position, row in enumerate(rows):
        top = row * SAMPLE_SIZE
        picture.paste(grid.crop((0, top, width, top + SAMPLE_SIZE)), (0, position * SAMPLE_SIZE))
    return picture.crop((1, 1, picture.width, picture.height - 1))


def draw_block(axes: Axes, title: str, spread: str, bars: tuple[Bar, ...]) -> None:
    """Draw one table with its bars; bars start at 50 %, which is chance."""
    axes.set_xlim(50, 92)
    axes.set_ylim(len(bars) - 0.45, -0.55)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=TEXT, pad=9)
    axes.set_xlabel(f"mean accuracy of face verification; {spread}", loc="left", fontsize=9, color=FAINT)
    for line, bar in enumerate(bars):
        mean, error = bar.accuracy()
        axes.barh(line + 0.16, mean - 50, left=50, height=0.3, color=bar.colour, xerr=error, ecolor=TEXT, capsize=2.5)
        axes.text(50, line - 0.22, bar.label, fontsize=10.5, color=TEXT, va="center")
        number = f"{mean:.2f} ± {error:.2f}"
        axes.text(mean + error + 0.6, line + 0.16, number, fontsize=10.5, color=TEXT, va="center", fontweight="bold")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.set_yticks([])
    axes.set_xticks(range(50, 91, 10), [f"{tick} %" for tick in range(50, 91, 10)])
    axes.tick_params(colors=FAINT, labelsize=9, length=2)


def main() -> None:
    """Draw the picture and write it."""
    figure = plt.figure(figsize=(12.6, 6.3), dpi=110, facecolor="white")
    headline = "Generate faces of people who do not exist, train a network on them, measure what it recognises"
    figure.text(0.012, 0.95, headline, fontsize=14.5, fontweight="bold", color=TEXT)
    for position, (name, rows, title) in enumerate(SAMPLES):
        faces = figure.add_axes((0.012, 0.493 - 0.463 * position, 0.412, 0.38))
        faces.imshow(sample_faces(name, rows), interpolation="lanczos", aspect="equal")
        faces.set_anchor("NW")
        faces.set_axis_off()
        faces.set_title(title, loc="left", fontsize=12, fontweight="bold", color=TEXT, pad=9)
    for position, (title, spread, bars) in enumerate(BLOCKS):
        axes = figure.add_axes((0.455, 0.568 - 0.463 * position, 0.53, 0.305))
        draw_block(axes, title, spread, bars)
    figure.canvas.draw()
    picture = Image.frombuffer("RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba()).convert("RGB")
    picture.save(REPORTS / "overview.png", optimize=True)


if __name__ == "__main__":
    main()
