"""Result cards -> the leaderboard: tables in Markdown and CSV, and one HTML page that needs no network.

Rows of one protocol set stand together: rendered protocols never share a column with real ones. Seeds of one benchmark
are one row: mean, and standard deviation over seeds. Accuracies are printed in per cent with their standard error.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from bench.cards import ResultCard, read_card
from bench.files import write_text
from bench.inputs import is_rendered

FIVE = ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw")
TITLES = {
    "lfw": "LFW",
    "cfp_fp": "CFP-FP",
    "cfp_ff": "CFP-FF",
    "agedb_30": "AgeDB-30",
    "calfw": "CALFW",
    "cplfw": "CPLFW",
}
_LARGEST_MISPRINT = 0.02
"""Points by which a printed average may differ from the mean of its five numbers through rounding."""


@dataclass(frozen=True)
class Row:
    """One line of the leaderboard: the results of one network or dataset, over all its seeds."""

    results: tuple[ResultCard, ...]

    @property
    def first(self) -> ResultCard:
        """The result of the lowest seed, whose settings all share."""
        return self.results[0]

    @property
    def mean_accuracy(self) -> float:
        """Mean over protocols and seeds."""
        return fmean(result.mean_accuracy for result in self.results)

    @property
    def standard_error(self) -> float:
        """Of the mean over protocols, from the numbers of pairs; that of one seed."""
        return fmean(result.mean_standard_error for result in self.results)

    @property
    def seed_deviation(self) -> float | None:
        """Standard deviation of the mean over seeds; None with one seed."""
        return stdev(result.mean_accuracy for result in self.results) if len(self.results) > 1 else None

    def accuracy(self, protocol: str) -> float:
        """Mean over seeds."""
        return fmean(result.protocols[protocol].accuracy for result in self.results)

    def error(self, protocol: str) -> float:
        """Standard error of one protocol's accuracy."""
        return fmean(result.protocols[protocol].standard_error for result in self.results)

    @property
    def hours(self) -> float | None:
        """Wall hours of all stages, mean over seeds; None where nothing was trained."""
        if self.first.row != "dataset":
            return None
        return fmean(sum(cost.seconds for cost in result.stage_costs.values()) / 3600 for result in self.results)

    @property
    def commit(self) -> str:
        """Short commit, starred where tracked files had been changed."""
        git = self.first.git
        return (git.commit or "none")[:8] + ("*" if git.dirty else "")


@dataclass(frozen=True)
class Table:
    """Rows with the same protocols, best first, floors last."""

    protocols: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def is_rendered(self) -> bool:
        """Whether the protocols are rendered here and rank nothing."""
        return all(is_rendered(name) for name in self.protocols)

    @property
    def title(self) -> str:
        """Heading."""
        return (
            "Rendered protocols" if self.is_rendered else "Real protocols: " + ", ".join(map(heading, self.protocols))
        )

    @property
    def floor(self) -> float | None:
        """The best accuracy without training."""
        return max((row.mean_accuracy for row in self.rows if row.first.row == "floor"), default=None)


@dataclass(frozen=True)
class PublishedRow:
    """One row of published.csv; accuracies are per cent, as printed."""

    dataset: str
    recipe: str
    num_images: int | None
    accuracies: tuple[float | None, ...]
    average: float | None
    source: str

    @property
    def misprint(self) -> str:
        """What the average should be, where the printed one is not the mean of the five numbers; else empty."""
        if self.average is None or None in self.accuracies:
            return ""
        mean = fmean(value for value in self.accuracies if value is not None)
        return f"{mean:.2f}" if abs(mean - self.average) > _LARGEST_MISPRINT else ""


def heading(protocol: str) -> str:
    """How a protocol is printed; rendered ones keep their own names."""
    return TITLES.get(protocol, protocol)


def read_results(paths: Sequence[Path]) -> list[ResultCard]:
    """Result cards in a fixed order."""
    results = [read_card(path, ResultCard) for path in paths]
    return sorted(results, key=lambda card: (card.scale, card.name, card.seed, card.created_utc))


def make_tables(results: Sequence[ResultCard]) -> list[Table]:
    """Group results by protocols, and seeds of one benchmark into one row; real protocols first."""
    by_protocols: dict[tuple[str, ...], dict[tuple, dict[int, ResultCard]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        dataset, recipe = result.dataset or {}, result.recipe or {}
        weights = result.model.get("weights_sha256") if result.row == "model" else None
        key = (result.row, result.name, recipe.get("sha256"), dataset.get("name"), dataset.get("num_images"), weights)
        by_protocols[tuple(result.protocols)][key][result.seed] = result  # the newest of a seed stands
    tables = []
    for protocols, groups in by_protocols.items():
        rows = [Row(tuple(by_seed[seed] for seed in sorted(by_seed))) for by_seed in groups.values()]
        rows.sort(key=lambda row: (row.first.row == "floor", -row.mean_accuracy))
        tables.append(Table(protocols, tuple(rows)))
    return sorted(tables, key=lambda table: (table.is_rendered, -len(table.protocols), table.protocols))


def read_published(path: Path) -> list[PublishedRow]:
    """The published rows, best average first; empty where the file is not there."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            PublishedRow(
                dataset=line["dataset"],
                recipe=f"{line['backbone']}, {line['loss']}",
                num_images=int(float(line["n_images"])) if line["n_images"] else None,
                accuracies=tuple(_number(line[name]) for name in FIVE),
                average=_number(line["avg"]),
                source=line["source"],
            )
            for line in csv.DictReader(file)
        ]
    return sorted(rows, key=lambda row: -(row.average or 0))


def format_row(result: ResultCard) -> str:
    """One result for the terminal."""
    accuracies = "  ".join(f"{name} {value.accuracy:.2%}" for name, value in result.protocols.items())
    mean = f"{result.mean_accuracy:.2%} +- {result.mean_standard_error:.2%}"
    return f"{result.name} seed {result.seed}   mean {mean}\n{accuracies}"


def write_leaderboard(runs: Path) -> Path:
    """Render ``runs/leaderboard.{md,csv,html}`` from the results below ``runs``; returns the page."""
    from evaluate.report import render_html

    paths = sorted(runs.glob("*/results/*/result.json"))
    tables = make_tables(read_results(paths))
    published = read_published(Path(__file__).parent.parent / "reports" / "published.csv")
    write_text(runs / "leaderboard.md", render_markdown(tables, []))
    write_text(runs / "leaderboard.csv", render_csv(tables))
    write_text(runs / "leaderboard.html", render_html(tables, published, runs))
    return runs / "leaderboard.html"


def write_committed_leaderboard(reports: Path) -> Path:
    """Render ``reports/leaderboard.{md,csv}`` from the committed results and published rows; returns the Markdown."""
    tables = make_tables(read_results(sorted((reports / "results").glob("*.json"))))
    write_text(reports / "leaderboard.md", render_markdown(tables, read_published(reports / "published.csv")))
    write_text(reports / "leaderboard.csv", render_csv(tables))
    return reports / "leaderboard.md"


def cells(table: Table, row: Row) -> dict[str, str]:
    """The printed cells of a row, by column."""
    dataset, recipe = row.first.dataset or {}, row.first.recipe or {}
    seeds = f" (sd {100 * row.seed_deviation:.2f}, n={len(row.results)})" if row.seed_deviation is not None else ""
    above = "" if table.floor is None or row.first.row == "floor" else f"{100 * (row.mean_accuracy - table.floor):+.2f}"
    return {
        "row": {"dataset": row.first.name, "floor": f"floor: {row.first.name}", "model": row.first.name}[row.first.row],
        "mean": f"{100 * row.mean_accuracy:.2f} ± {100 * row.standard_error:.2f}{seeds}",
        **{heading(name): f"{100 * row.accuracy(name):.2f} ± {100 * row.error(name):.2f}" for name in table.protocols},
        "above floor": above,
        "faces": dataset.get("name", ""),
        "images": f"{dataset['num_images']:,}" if dataset else "",
        "identities": f"{dataset['num_identities']:,}" if dataset else "",
        "recipe": recipe.get("name", ""),
        "hours": "" if row.hours is None else f"{row.hours:.2f}",
        "commit": row.commit,
    }


def render_markdown(tables: Sequence[Table], published: Sequence[PublishedRow]) -> str:
    """Every table, then the published rows apart."""
    parts = ["# Leaderboard", "", "Accuracies in per cent ± standard error; hours are wall time of all stages."]
    parts += ["`*` after a commit: tracked files had been changed. Floors are rows without any training."]
    for table in tables:
        note = "Rendered here; they rank nothing." if table.is_rendered else ""
        parts += ["", f"## {table.title}", "", *([note, ""] if note else [])]
        parts += _markdown_table([cells(table, row) for row in table.rows])
    if published:
        parts += [
            "",
            "## Published rows",
            "",
            "Other people's numbers, by other recipes: gaps under half a point mean nothing.",
        ]
        parts += ["An average in brackets is the mean of the five numbers where the printed one differs.", ""]
        parts += _markdown_table([published_cells(row) for row in published])
    return "\n".join(parts) + "\n"


def published_cells(row: PublishedRow) -> dict[str, str]:
    """The printed cells of a published row, by column."""
    average = "" if row.average is None else f"{row.average:.2f}" + (f" [{row.misprint}]" if row.misprint else "")
    values = ("" if value is None else f"{value:.2f}" for value in row.accuracies)
    return {
        "dataset": row.dataset,
        "average": average,
        **dict(zip(map(heading, FIVE), values, strict=True)),
        "images": "" if row.num_images is None else f"{row.num_images:,}",
        "recipe": row.recipe,
        "source": row.source,
    }


def render_csv(tables: Sequence[Table]) -> str:
    """One line per row and protocol, in fractions with every digit, for other people's scripts."""
    text = io.StringIO()
    columns = ["row", "name", "scale", "seeds", "protocol", "accuracy", "standard_error", "mean_accuracy"]
    columns += ["faces", "num_images", "num_identities", "recipe", "hours", "commit"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for table in tables:
        for row in table.rows:
            dataset, recipe = row.first.dataset or {}, row.first.recipe or {}
            tail = [dataset.get(key, "") for key in ("name", "num_images", "num_identities")]
            tail += [recipe.get("name", ""), "" if row.hours is None else row.hours, row.commit]
            seeds = " ".join(str(result.seed) for result in row.results)
            for name in table.protocols:
                head = [row.first.row, row.first.name, row.first.scale, seeds, name]
                writer.writerow([*head, row.accuracy(name), row.error(name), row.mean_accuracy, *tail])
    return text.getvalue()


def _markdown_table(rows: Sequence[dict[str, str]]) -> list[str]:
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([row[column] for column in columns] for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _number(text: str) -> float | None:
    return float(text) if text else None
