"""Published rows: means, gaps, misprints, and files that do not fit."""

import pytest
from paths import REPORTS

from bench.errors import InputError
from evaluate.leaderboard.published import group_by_size, read_published


def test_published_rows_and_their_misprints():
    rows = {row.dataset: row for row in read_published(REPORTS / "published.csv")}
    assert rows["HSFace10K"].mean == pytest.approx(92.0)
    assert not rows["HSFace300K"].is_misprint  # 93.514 printed as 93.52: five roundings explain it
    assert {name for name, row in rows.items() if row.is_misprint} == {
        "UIFace (third-party)",
        "USynthFace 400K + RandAugment",
    }
    assert rows["UIFace (third-party)"].misprint == "printed 93.00, the five average 92.30"
    assert rows["IDnet + RandAugment"].misprint == "Vec2Face README prints AgeDB 63.88: transcription error"
    assert sum(row.misprint is not None for row in rows.values()) == 3
    assert rows["UIFace (third-party)"].mean == pytest.approx(92.296)
    assert rows["HSFace10K"].gap_to_real == pytest.approx(94.784 - 92.0)  # the same source's CASIA, the same recipe
    assert rows["VariFace (unconstrained)"].gap_to_real is None
    assert rows["CASIA-WebFace (real)"].gap_to_real is None
    assert rows["VariFace (unconstrained)"].mean == 95.67
    assert [row.dataset for row in group_by_size(list(rows.values()))["Vec2Face"]][:2] == ["HSFace10K", "HSFace20K"]


def test_rows_that_a_third_party_passed_on_are_marked():
    rows = read_published(REPORTS / "published.csv")
    noted = [row for row in rows if "paper note (third party)" in row.source]
    assert {row.dataset.split(" lb")[0] for row in noted} >= {"IDperturb", "CASIA-WebFace + VIGFace both"}
    assert len(noted) == 13
    assert sum("model_zoo/README.md (2026-02-28)" in row.source for row in rows) == 14
    released = [row for row in rows if "mk-minchul/CVLface cvlface/pretrained_models" in row.source]
    assert [row.mean for row in released] == pytest.approx([97.582, 97.55, 97.536, 97.444])


def test_published_files_that_do_not_fit(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text("dataset,lfw\nx,99\n")
    with pytest.raises(InputError, match=r"published.csv has columns \['dataset', 'lfw'\]; give it the columns"):
        read_published(path)
    header = (REPORTS / "published.csv").read_text().splitlines()[0]
    path.write_text(f"{header}\nx,x,2020,1,1,R50,ArcFace,ninety,1,1,1,1,1,paper\n")
    with pytest.raises(InputError, match=r"published.csv line 2: could not convert .*; write numbers in per cent"):
        read_published(path)
    path.write_text(f"{header}\nx,x,2020,1,1,R50,ArcFace,990,1,1,1,1,1,paper\n")
    with pytest.raises(InputError, match=r"line 2: accuracies \[990.0\] are outside 0 to 100; write them in per cent"):
        read_published(path)
