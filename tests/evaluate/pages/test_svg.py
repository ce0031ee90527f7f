"""Plots: ticks are round and within the axis, points lie where their values say, text is escaped."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from evaluate.pages.svg import Axis, Plot, format_count_tick, format_percent_tick, spread


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis("x", 0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Axis("x", -0.31, 0.92), [0, 0.5]),
        (Axis("x", 88, 96), [88, 90, 92, 94, 96]),
        (Axis("x", 1 / 3000, 1, is_log=True), [0.001, 0.01, 0.1, 1]),
    ],
)
def test_ticks(axis, ticks):
    assert axis.ticks() == pytest.approx(ticks)


def test_positions():
    assert Axis("x", 10, 30).position(15) == 0.25
    assert Axis("x", 1, 10_000, is_log=True).position(100) == pytest.approx(0.5)


def test_a_plot_is_xml_with_its_points_in_place():
    plot = Plot(Axis("a < b", 0, 10), Axis("y", 0, 1), width=164, height=150, title="A & B")
    plot.line([0, 10], [0, 1], "#000")
    plot.dot(5, 0.5, "#111", tip="<script>")
    plot.bars(np.array([0.0, 5.0, 10.0]), np.array([1.0, 0.0]), "#222")
    plot.text(0, 1, "<b>", "#333")
    svg = plot.svg()
    root = ET.fromstring(svg)
    assert root.find("title").text == "A & B"
    assert re.search(r'polyline points="52.0,114.0 152.0,14.0"', svg)  # margins of 52, 12, 14 and 36 pixels
    assert 'cx="102.0" cy="64.0"' in svg
    assert "52.0,114.0 52.0,14.0 102.0,14.0 102.0,114.0 152.0,114.0 152.0,114.0" in svg
    assert "<script>" not in svg
    assert "<b>" not in svg


def test_formats():
    assert [format_count_tick(value) for value in (10, 1000, 20_000, 5e6)] == ["10", "1 k", "20 k", "5 M"]
    assert format_percent_tick(0.25) == "25%"


def test_names_of_lines_that_end_together_stand_apart_in_their_order():
    plot = Plot(Axis("x", 0, 1), Axis("y", 0, 1), width=400, height=150, names=["a", "b", "c"])
    for name, y in (("b", 0.5), ("a", 0.51), ("c", 0.49)):
        plot.name_line(1, y, name, "#000")
    names = re.findall(r'<text x="[\d.]+" y="([\d.]+)" fill="#000">(.)<', plot.svg())
    assert [name for _, name in names] == ["a", "b", "c"]
    assert np.diff([float(y) for y, _ in names]) == pytest.approx([13, 13])
    assert plot.to_pixels(1, 0)[0] < 400 - 12 - 16  # the axes leave room for the names


def test_long_names_are_cut_and_the_axes_keep_their_room():
    name = "<smoke> " + "generator.perturbation.sigmas=[0.2, 0.3, 0.4] " * 3
    plot = Plot(Axis("x", 0, 1), Axis("y", 0, 1), width=860, names=[name])
    plot.name_line(1, 0.5, name, "#000")
    assert plot.to_pixels(1, 0)[0] > 500
    text = ET.fromstring(plot.svg()).findall("text")[-1]
    assert text.find("title").text == name
    assert text.find("title").tail == name[:41] + "..."


def test_names_of_very_many_lines_stay_in_the_figure():
    names = [str(number) for number in range(60)]
    plot = Plot(Axis("x", 0, 1), Axis("y", 0, 1), width=860, height=460, names=names)
    for name in names:
        plot.name_line(1, 0.5, name, "#000")
    heights = [float(y) for y in re.findall(r'y="([\d.]+)" fill="#000"', plot.svg())]
    assert len(heights) == 60 and min(heights) >= 14 and max(heights) <= 460 - 36 + 3.5
    assert np.all(np.diff(heights) > 0)


def test_a_plot_without_names_has_no_room_for_them():
    assert Plot(Axis("x", 0, 1), Axis("y", 0, 1), width=164).to_pixels(1, 0)[0] == 152


@pytest.mark.parametrize("seed", range(20))
def test_heights_move_as_little_as_needed(seed):
    """Without bounds the best heights are an isotonic regression of the heights less their offsets."""
    heights = np.sort(np.random.default_rng(seed).uniform(0, 100, 8))
    offsets = 13.0 * np.arange(8)
    best = isotonic_regression(heights - offsets) + offsets
    assert spread(heights.tolist(), 13, -1e6, 1e6) == pytest.approx(best)
    bounded = spread(heights.tolist(), 13, 0, 100)
    assert min(bounded) >= 0 and max(bounded) <= 100
    assert np.all(np.diff(bounded) >= 13 - 1e-9)
