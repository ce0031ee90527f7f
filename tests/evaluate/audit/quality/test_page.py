"""Quality on the audit's page: tables and plots say what the card says; the published sets; bad tables."""

import csv

import pytest
from paths import GOLDEN, REPORTS

from bench.errors import InputError
from bench.runs.card_parts.quality import DetailFigures, Distances, DiversityFigures, PerceptualFigures, QualitySection
from bench.runs.cards import AuditCard, read_card
from evaluate.audit.page import at_a_glance, render_audit
from evaluate.audit.quality.page import distance_rows, diversity_rows, octave_plot, rank_agreement, standing_rows
from evaluate.audit.quality.published import read_published_audits

DETAIL = DetailFigures(num_images=9, sharpness=80.0, octave_power={"low": 100.0, "high": 1.5})
DIVERSITY = DiversityFigures(vendi_images=61.3, vendi_identities=9.5, radius=0.3, u_class=0.9, c_intra=0.75, eer=0.031)
FIGURES = {"frechet": 0.21, "kid": 0.0123, "kid_std": 0.002, "precision": 0.8, "recall": 0.4, "density": 0.7}
QUALITY = QualitySection(
    reference="real", num_images=500, num_neighbours=5,
    ours=Distances(**FIGURES, coverage=0.6, d_intra=0.33),
    real_halves=Distances(**FIGURES | {"frechet": 0.05}, coverage=0.9, d_intra=None),
    detail=DETAIL, diversity=DIVERSITY, sharpness_ratio=0.4, octave_ratio={"low": 1.0, "high": None},
)  # fmt: skip


@pytest.fixture
def card():
    stored = read_card(GOLDEN / "cards" / "audit.json", AuditCard)
    return stored.model_copy(update={"detail": DETAIL, "diversity_scores": DIVERSITY, "quality": QUALITY})


def test_rows_hold_both_sides(card):
    rows = {row[0]: row[1:3] for row in distance_rows(QUALITY)}
    assert rows["Fréchet distance"] == ("0.210", "0.050")
    assert rows["kernel distance (KID)"] == ("0.0123 ± 0.0020", "0.0123 ± 0.0020")
    assert rows["D_intra of deviations"] == ("0.330", "")
    assert {row[0]: row[1:3] for row in diversity_rows(card)}["Vendi score of images"] == ("61.3", "61.3")
    alone = card.model_copy(update={"quality": None})
    assert diversity_rows(alone)[0][2] == ""
    assert "real" not in octave_plot(DETAIL, None) and "real" in octave_plot(DETAIL, QUALITY)


def test_perceptual_distances_have_rows_where_they_were_measured(card):
    lpips = PerceptualFigures(num_within=1000, within=0.21, num_across=9, across=None)
    figures = DIVERSITY.model_copy(update={"lpips": lpips})
    measured = card.model_copy(update={"diversity_scores": figures})
    assert diversity_rows(measured)[-2:] == [
        ("LPIPS within identities", "0.210", "", "mean perceptual distance of 1,000 pairs of one identity"),
        ("LPIPS across identities", "", "", "the same of 9 pairs of two identities"),
    ]
    assert len(diversity_rows(card)) == len(diversity_rows(measured)) - 2
    assert "LPIPS within identities" in render_audit(measured)


def test_the_page_shows_them(card):
    page = render_audit(card)
    for text in ("Distance to real faces: real", "0.0123 ± 0.0020", "0.40 times that of real", "high: -", "Vec2Face"):
        assert text in page
    glance = {name: value for name, value, _ in at_a_glance(card)}
    assert (glance["Sharpness"], glance["Diversity"], glance["Fréchet distance"]) == ("80", "61.3", "0.210")
    old = read_card(GOLDEN / "cards" / "audit.json", AuditCard)
    assert "Distance to real faces" not in render_audit(old)


def test_a_set_stands_among_the_public_ones(card):
    published = read_published_audits()
    assert len(published) == 16
    rows = standing_rows(card, published)
    assert sum(is_own for _, is_own in rows) == 1
    ratios = [float(cells[5]) for cells, _ in rows]
    assert ratios == sorted(ratios, reverse=True)
    (own,) = (cells for cells, is_own in rows if is_own)
    assert own[0] == card.name and own[4] == "3.10%"


def test_published_figures_are_those_of_the_files():
    audits = {audit.dataset: audit for audit in read_published_audits()}
    assert (audits["CemiFace"].fisher_ratio, audits["CemiFace"].accuracy) == (3.632, pytest.approx(92.30, abs=0.01))
    assert (audits["HyperFace"].fisher_ratio, audits["HyperFace"].accuracy) == (18.204, pytest.approx(89.50, abs=0.01))
    assert audits["Vec2Face"].match_above_half == pytest.approx(0.0825)
    assert audits["Control10k"].accuracy is None
    with (REPORTS / "published.csv").open(newline="") as file:
        printed = {row["dataset"]: row["avg"] for row in csv.DictReader(file)}
    assert audits["DCFace"].accuracy == pytest.approx(float(printed["DCFace 0.5M"]), abs=0.01)


def test_separability_does_not_predict_accuracy_among_well_separated_sets():
    assert rank_agreement(read_published_audits(), 0) == (12, pytest.approx(0.769, abs=1e-3))
    number, agreement = rank_agreement(read_published_audits(), 3)
    assert number == 7 and abs(agreement) < 0.2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_images", "images", "has columns"),
        ("CemiFace 0.5M", "CemiFace 9M", "CemiFace 9M is no dataset of published.csv; write one of its names"),
        ("0.2962", "much", r"line 2: .*much.*; write a number"),
    ],
)
def test_broken_tables_are_named(tmp_path, old, new, message):
    (tmp_path / "published.csv").write_text((REPORTS / "published.csv").read_text())
    text = (REPORTS / "published_audits.csv").read_text()
    (tmp_path / "published_audits.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_published_audits(tmp_path)
