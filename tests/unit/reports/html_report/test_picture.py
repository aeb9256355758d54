"""Curves in a picture: round marks on the axes, and points in proportion."""

import re

import pytest

from kvmprobe.reports.html_report.picture import BOTTOM, LEFT, RIGHT, TOP, Curve, picture


def drawn(*points, level=None):
    curves = [Curve(0, "a", points)]
    if level is not None:
        curves.append(Curve(1, "b", (), level=level))
    return picture("blocks", "minutes", curves)


def corners(line):
    return [tuple(map(float, corner.split(","))) for corner in line[1].split()]


def texts(ticks):
    return [tick.text for tick in ticks]


def test_the_axes_have_round_marks():
    shown = drawn((1, 2100), (60, 2900))
    assert texts(shown.across_ticks) == ["0", "20", "40", "60"]
    assert texts(shown.up_ticks) == ["2000", "2200", "2400", "2600", "2800", "3000"]


def test_the_axis_begins_at_0_if_there_is_much_below_the_middle():
    assert texts(drawn((1, 500), (60, 2900)).up_ticks)[0] == "0"


def test_points_are_in_proportion():
    (line,) = drawn((0, 0), (5, 50), (10, 100)).lines
    middle = ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2)
    assert corners(line) == [(LEFT, BOTTOM), middle, (RIGHT, TOP)]


def test_a_level_goes_from_side_to_side():
    _, line = drawn((0, 0), (10, 100), level=50).lines
    middle = (TOP + BOTTOM) / 2
    assert corners(line) == [(LEFT, middle), (RIGHT, middle)]


def test_a_level_above_all_points_is_in_the_picture():
    _, line = drawn((0, 0), (10, 100), level=200).lines
    assert corners(line)[0][1] == TOP


def test_the_words_say_where_each_curve_ends():
    shown = drawn((1, 20), (60, 90), level=50)
    assert shown.words == "blocks by minutes; at the end a: 90; b: 50"


@pytest.mark.parametrize(
    "points",
    [
        [(0.0, 0)],
        [(0.0, 7), (0.0, 7)],
        [(1e15, 2**64 - 1)],
        [(1e-6, -(2**63)), (1e15, 2**64 - 1)],
        [(5, 2**63), (3, 2**63)],
    ],
)
def test_whatever_a_file_says_has_a_picture(points):
    shown = drawn(*points)
    assert len(shown.up_ticks) + len(shown.across_ticks) < 30
    assert not re.search("nan|inf", str(shown.lines))
