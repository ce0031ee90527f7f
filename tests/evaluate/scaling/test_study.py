"""A sweep of made-up results -> table, figures, fits and page; published rows; resampled errors."""

import csv
import json
import re

import numpy as np
import pytest
from leaderboard_rows import add_scores
from results import make_result

from bench.config.overrides import describe_change
from bench.errors import InputError
from bench.runs.card_parts.references import DatasetReference
from bench.runs.cards import write_card
from bench.runs.sweeps.plan_file import PlannedPoint, SweepPlan, sweep_dir, write_plan
from evaluate.leaderboard.read import read_local
from evaluate.leaderboard.tables import make_tables
from evaluate.leaderboard.write import write_leaderboard
from evaluate.scaling.figures import field_plots
from evaluate.scaling.results import pair_weights, read_settings_of_sweep, resampled_errors
from evaluate.scaling.study import curves_of_sweep, published_curves
from evaluate.scaling.write import write_published_study, write_sweep

PROTOCOLS = ("render_lfw", "render_cfp_fp")


def make_sweep(runs, identities=(70, 140, 280, 560), images=(4,), seeds=(0, 1), name="mine", others=()):
    """Results whose error falls by the same points with every tenfold number of identities; some points are missing."""
    points = []
    grid = [(n, m, other) for n in identities for m in images for other in (others or (None,))]
    for n, m, other in grid:
        values = {"generator.num_identities": n, "generator.images_per_identity": m}
        values |= {} if other is None else {"recipe.margin.margin": other}
        for seed in seeds:
            label = " ".join([*(describe_change(*item) for item in values.items()), f"seed {seed}"])
            fingerprint = f"{len(points):016x}"
            accuracy = round(1 - (0.3 - 0.1 * np.log10(n * m / 280) - 0.01 * seed), 3)
            changes = tuple(describe_change(*item) for item in values.items())
            card = make_result("smoke", accuracy, seed=seed, protocols=PROTOCOLS, fingerprint=fingerprint)
            dataset = DatasetReference(num_images=n * m, num_identities=n, generator_sha256=f"{n}-{m}-{other}")
            update = {"changes": changes, "name": f"smoke, {', '.join(changes)}", "dataset": dataset}
            folder = runs / "smoke" / "results" / fingerprint
            write_card(folder, card.model_copy(update=update))
            add_scores(folder)
            points.append(point(label, seed, values, f"smoke/results/{fingerprint}", "finished"))
    points.append(point("one that failed", 0, {}, "smoke/results/none", "failed", problem="train: error: too few"))
    fields = tuple(points[0].values)
    plan = SweepPlan(
        name=name, about="for the test", bases=("smoke",), fixed={}, fields=fields, points=points, written_utc="2026"
    )
    write_plan(sweep_dir(name, runs), plan)
    return plan


def point(label, seed, values, result, state, **fields):
    folders = {"dataset": "smoke/faces/x", "model": "smoke/models/x", "result": result}
    return PlannedPoint(label=label, base="smoke", seed=seed, values=values, state=state, **folders, **fields)


def test_a_sweep_is_written(tmp_path):
    make_sweep(tmp_path)
    folder = sweep_dir("mine", tmp_path)
    text = write_sweep(folder)
    assert "| log-linear | p 0." in text
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["num_identities"] for row in rows][:8:2] == ["70", "140", "280", "560"]
    assert (rows[-1]["state"], rows[-1]["mean_accuracy"]) == ("failed", "")
    assert float(rows[0]["render_lfw"]) == pytest.approx(float(rows[0]["mean_accuracy"]), abs=0.01)
    page = (folder / "index.html").read_text()
    for part in ("8 of 9 points are finished", "one that failed", "train: error: too few", "Error against identities"):
        assert part in page
    assert page.count("<svg") == 3
    assert {path.name for path in folder.glob("*.svg")} == {
        "accuracy_against_num_identities.svg",
        "error_against_identities.svg",
        "error_against_identities_with_published_rows.svg",
    }
    (curve,) = json.loads((folder / "scaling.json").read_text())
    assert curve["points"]["num_identities"] == [70, 140, 280, 560]
    before = page
    write_sweep(folder)
    assert (folder / "index.html").read_text() == before


def test_figures_of_a_sweep_over_sizes_and_another_field(tmp_path):
    plan = make_sweep(tmp_path, identities=(70, 280), images=(4, 16), others=(0.1, 0.3))
    settings = read_settings_of_sweep(plan, tmp_path)
    assert len(settings) == 8
    assert [len(setting.cards) for setting in settings] == [2] * 8
    curves, problems = curves_of_sweep(settings, plan.fields)
    assert [curve.title for curve in curves] == ["smoke margin=0.1", "smoke margin=0.3"]
    assert problems == {}
    assert curves[0].sizes.images.tolist() == [4, 16, 4, 16]
    assert np.all((curves[0].low < curves[0].errors) & (curves[0].errors < curves[0].high))
    write_sweep(sweep_dir("mine", tmp_path))
    names = {path.stem for path in sweep_dir("mine", tmp_path).glob("*.svg")}
    fields = ("num_identities", "images_per_identity", "margin")
    assert {*(f"accuracy_against_{field}" for field in fields), "error_against_images_per_identity"} <= names


def test_names_of_lines_stand_below_each_other_at_the_right(tmp_path):
    """Each margin has points at one number of identities alone, so that one line ends at each side."""
    plan = make_sweep(tmp_path, identities=(70, 280), others=(0.1, 0.3))
    settings = read_settings_of_sweep(plan, tmp_path)
    kept = [each for each in settings if (each.num_identities == 70) == (each.values["recipe.margin.margin"] == 0.1)]
    figure = field_plots(kept, plan.fields)["accuracy against num_identities"]
    names = re.findall(r'<text x="([-\d.]+)" y="([\d.]+)"[^>]*>(smoke [^<]*)', figure)
    (first_x, first_y, first), (second_x, second_y, second) = names
    assert first_x == second_x and float(second_y) - float(first_y) >= 13
    width = float(re.search(r'viewBox="0 0 (\d+)', figure)[1])
    assert float(first_x) + 6 * max(len(first), len(second)) <= width


def test_a_curve_that_cannot_be_fitted_is_named(tmp_path):
    plan = make_sweep(tmp_path, identities=(70, 280))
    _, problems = curves_of_sweep(read_settings_of_sweep(plan, tmp_path), plan.fields)
    assert problems == {"smoke": "2 sizes are too few for a fit; give 3 with two numbers of identities"}
    write_sweep(sweep_dir("mine", tmp_path))
    assert "smoke was not fitted: 2 sizes" in (sweep_dir("mine", tmp_path) / "index.html").read_text()


def test_sweeps_without_plan_or_results(tmp_path):
    with pytest.raises(InputError, match=r"plan\.json does not exist; run the sweep first: make sweep SWEEP=mine"):
        write_sweep(sweep_dir("mine", tmp_path))
    make_sweep(tmp_path, identities=())
    with pytest.raises(InputError, match="no point of sweep mine is finished; run it: make sweep SWEEP=mine"):
        write_sweep(sweep_dir("mine", tmp_path))


def test_resampled_errors_vary_over_seeds_and_pairs(tmp_path):
    """Their variance is that of the seeds plus that of the pairs, by the formulas."""
    plan = make_sweep(tmp_path, identities=(70, 280), seeds=(0, 1, 2, 3))
    settings = read_settings_of_sweep(plan, tmp_path)
    draws = resampled_errors(settings, num_draws=4000)
    assert draws.shape == (4000, 2)
    assert np.array_equal(draws[:10], resampled_errors(settings, num_draws=4000)[:10])
    for column, setting in enumerate(settings):
        accuracies = np.array([card.mean_accuracy for card in setting.cards])
        assert draws[:, column].mean() == pytest.approx(1 - accuracies.mean(), abs=0.002)
        correct = [fold_mean(folder) for folder in setting.folders]
        by_pair = np.mean(correct, axis=0)  # (protocols, pairs)
        pairs = sum(np.var(row) / len(row) for row in by_pair) / len(PROTOCOLS) ** 2
        assert draws[:, column].var() == pytest.approx(np.var(accuracies, ddof=1) / 4 + pairs, rel=0.1)


def test_curves_of_a_sweep_that_still_runs_hold_the_seeds_that_all_settings_have(tmp_path):
    plan = make_sweep(tmp_path, identities=(70, 140, 280), seeds=(0, 1, 2))
    for point in plan.points[4:9]:  # the second and the third setting keep seed 0 alone
        if point.seed:
            (tmp_path / point.result / "result.json").unlink()
    settings = read_settings_of_sweep(plan, tmp_path)
    assert [len(setting.cards) for setting in settings] == [3, 1, 1]
    (curve,), problems = curves_of_sweep(settings, plan.fields)
    assert not problems and curve.interval_over == "the test pairs of one seed"
    first = settings[0].of_seeds({0})
    assert curve.errors[0] == pytest.approx(1 - first.mean_accuracy)
    assert curve.errors[0] != pytest.approx(1 - settings[0].mean_accuracy)


def test_settings_without_a_common_seed_have_no_curve(tmp_path):
    plan = make_sweep(tmp_path, identities=(70, 140, 280), seeds=(0, 1))
    for point in plan.points[:6]:
        if point.seed == (point.values["generator.num_identities"] == 70):
            (tmp_path / point.result / "result.json").unlink()
    curves, problems = curves_of_sweep(read_settings_of_sweep(plan, tmp_path), plan.fields)
    assert (curves, set(problems.values())) == (
        [],
        {"its settings have no finished seed in common; wait until the sweep has run"},
    )


def fold_mean(folder):
    with np.load(folder / "scores.npz") as scores:
        return np.stack([scores[f"{name}/is_correct"] for name in PROTOCOLS])


def test_weights_of_pairs_against_the_slow_way():
    is_genuine = np.array([True, True, False, False, False])
    identities = np.array([[0, 0], [1, 1], [0, 1], [1, 2], [0, 2]])
    weights = pair_weights(is_genuine, identities, 50, np.random.default_rng(1))
    counts = np.random.default_rng(1).multinomial(3, np.full(3, 1 / 3), 50)
    for row, drawn in zip(weights, counts, strict=True):
        raw = [drawn[a] if a == b else drawn[a] * drawn[b] for a, b in identities]
        for kind in (is_genuine, ~is_genuine):
            total = sum(weight for weight, chosen in zip(raw, kind, strict=True) if chosen)
            expected = [
                kind.mean() * weight / max(total, 1) for weight, chosen in zip(raw, kind, strict=True) if chosen
            ]
            assert row[kind] == pytest.approx(expected)
    assert pair_weights(is_genuine, None, 7, np.random.default_rng(0)).sum(axis=1) == pytest.approx(np.ones(7))


def test_published_rows_are_fitted_as_known(tmp_path):
    """Points per decade and floor as least squares on the printed figures give them."""
    fits = {curve.title: {fit.form: fit for fit in curve.comparison.fits} for curve in published_curves()}
    assert 100 * fits["Vec2Face"]["log-linear"].parameters["q"].value == pytest.approx(0.94, abs=0.02)
    assert 100 * fits["Vec2Face+"]["log-linear"].parameters["q"].value == pytest.approx(0.62, abs=0.03)
    assert 100 * fits["Vec2Face+"]["floor"].parameters["a"].value == pytest.approx(5.07, abs=0.05)
    verdicts = {curve.title: curve.comparison.verdict for curve in published_curves()}
    assert verdicts["Vec2Face"].startswith("The points cannot tell the two forms apart")
    assert verdicts["DCFace"].startswith("3 sizes are too few to ask for a floor")
    text = write_published_study(tmp_path / "scaling.svg")
    assert "## Vec2Face+" in text
    assert (tmp_path / "scaling.svg").read_text().startswith("<svg")


def test_the_leaderboard_folds_the_settings_of_a_sweep(tmp_path):
    make_sweep(tmp_path)
    folder = tmp_path / "smoke" / "results" / "base"
    write_card(folder, make_result("smoke", 0.8, protocols=PROTOCOLS, fingerprint="base"))
    add_scores(folder)
    (table,) = make_tables(read_local(tmp_path))
    assert [row.label for row in table.rows] == ["smoke"]
    (sweep,) = table.sweeps
    assert (sweep.name, len(sweep.table.rows)) == ("mine", 4)
    write_leaderboard(tmp_path)
    text = (tmp_path / "leaderboard.md").read_text()
    assert "- [sweep mine: 4 settings](sweeps/mine/index.html), mean 7" in text
    assert "num_identities=70" not in text
    assert "sweep mine: 4 settings" in (tmp_path / "leaderboard.html").read_text()
    assert (tmp_path / "leaderboard.csv").read_text().count('"smoke, generator.num_identities=70') == 3


def test_only_settings_of_sweeps_are_shown_as_rows(tmp_path):
    make_sweep(tmp_path)
    (table,) = make_tables(read_local(tmp_path))
    assert len(table.rows) == 4
    assert table.sweeps == ()
    (sweep_dir("mine", tmp_path) / "plan.json").write_text("{}")
    broken = {}
    assert all(result.sweep == "" for result in read_local(tmp_path, broken))
    assert list(broken) == [sweep_dir("mine", tmp_path) / "plan.json"]
