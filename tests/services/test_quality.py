"""Warnings of cells that look wrong."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quality import LOST_POINT, MOST_WARNINGS, find_lost_points, summarize
from services.tables import Table

X = np.linspace(-20, 20, 400)


def find_suspects(*curves, **sizes):
    """Find the places of suspect cells, and the numbers they would be."""
    found = find_lost_points(np.array(curves, dtype=float), **sizes)
    return list(zip(*(part.tolist() for part in found), strict=True))


def draw_curves(make, count=200):
    """Draw random curves, always the same."""
    return make(np.random.default_rng(7), (count, X.size))


def find_plainly(y):
    """Follow the rule of docs/method.md to the letter, for one curve."""
    n, found, far = len(y), [], 0
    if n < 5:
        return []
    for row in range(n):
        beside = [y[other] for other in (row - 1, row + 1) if 0 <= other < n]
        far += all(abs(y[row]) > 500 * abs(other) for other in beside)
        first = min(max(row - 2, 0), n - 5)
        rows = [other for other in range(first, first + 5) if other != row]
        near = [y[other] for other in rows]
        s = max(map(abs, near))
        if any(map(math.isnan, near)) or not s or not abs(y[row]) > 500 * s:
            continue
        slopes = [(y[b] - y[a]) / (b - a) for a, b in itertools.pairwise(rows)]
        whole = abs(y[row]) >= 100 and y[row] == round(y[row]) and all(v != round(v) for v in near)
        smooth = max(slopes) - min(slopes) <= s / 4
        if not whole and not smooth:
            continue
        a, b = sorted(sorted(rows, key=lambda other: abs(other - row))[:2])
        foretold = y[a] + (y[b] - y[a]) / (b - a) * (row - a)
        numbers = [y[row] / 10**k for k in range(3, 16)]
        number = min(numbers, key=lambda number: abs(number - foretold))
        if abs(number - foretold) <= (s if whole else s / 4):
            found.append((whole and smooth, row, number))
    rare = far <= max(1, n // 20)
    return [(0, row, number) for sure, row, number in found if rare or sure]


@pytest.mark.parametrize("row", [0, 1, 2, 200, 397, 398, 399])
@pytest.mark.parametrize("factor", [1e3, 1e6, -1e3])
def test_a_cell_without_its_decimal_point_is_found_in_any_row(row, factor):
    y = np.cos(X / 5) + 2
    right = y[row]
    y[row] *= factor
    found = find_suspects(np.sin(X), y)
    assert [(curve, at) for curve, at, _ in found] == ([(1, row)] if factor > 0 else [])
    assert all(number == pytest.approx(right) for _, _, number in found)


def test_the_cell_of_the_story():
    assert find_suspects([-0.731, -0.73, -729.0, -0.728, -0.726]) == [(0, 2, -0.729)]
    assert find_suspects([0.2, -0.9, -729.0, -0.8, 0.6]) == [(0, 2, -0.729)]
    assert find_suspects([0.2, -0.9, -729.5, -0.8, 0.6]) == []


def test_many_cells_that_are_whole_numbers_among_others_are_each_told():
    y = np.round(0.7 + 0.05 * np.sin(np.arange(40) / 3) + 0.0004, 3)
    broken = y.copy()
    broken[::7] *= 1000
    assert (broken[::7] == np.rint(broken[::7])).all()
    found = find_suspects(broken)
    assert [(row, number) for _, row, number in found] == [
        (row, pytest.approx(y[row])) for row in range(0, 40, 7)
    ]


def test_few_cells_of_a_smooth_curve_are_missed():
    """Where a curve crosses zero, a cell may be small beside its neighbours even a thousandfold."""
    y = np.sin(X)
    found = 0
    for row in range(y.size):
        broken = y.copy()
        broken[row] *= 1000
        found += [at for _, at, _ in find_suspects(broken)] == [row]
    assert found > 0.85 * y.size


@pytest.mark.parametrize(
    "y",
    [
        [1, 1, 1000, 1],  # too few rows
        [1, 1, 400, 1, 1],  # not far
        [0, 0, 1000, 0, 0],  # nothing beside it
        [1, 1, 1000, math.nan, 1],  # a gap beside it
        [1, -1, 1000, 1, -1],  # nothing smooth
        [1, 1, 3000, 1, 1],  # 3 does not fit
        [1, 1, 1000, 1000, 1, 1],  # two of them
        [1, 1, 1000, 1, 1] * 5,  # the curve is like that
        [1e308, 1e308, -1e308, 1e308, 1e308],
        [5e-324, 5e-324, 1, 5e-324, 5e-324],
        [math.nan] * 9,
    ],
)
def test_what_is_no_lost_point(y):
    assert find_suspects(y) == []


@pytest.mark.parametrize(
    ("most", "make"),
    {
        "noise": (0, lambda random, shape: random.normal(size=shape)),
        "noise far from zero": (0, lambda random, shape: 1e6 + random.normal(size=shape)),
        "noise with heavy tails": (0, lambda random, shape: random.standard_cauchy(size=shape)),
        "waves": (0, lambda random, shape: np.sin(X * random.uniform(0, 6, (shape[0], 1)))),
        "growth": (0, lambda random, shape: np.exp(X * random.uniform(-30, 30, (shape[0], 1)))),
        "poles": (0, lambda random, shape: 1 / (X - random.uniform(-20, 20, (shape[0], 1)))),
        "steps": (5, lambda random, shape: 10.0 ** random.integers(-6, 6, shape).cumsum(axis=1)),
        "lines on zeros": (0, lambda random, shape: np.where(random.random(shape) < 0.02, 1e3, 0)),
        "counts": (0, lambda random, shape: 1e4 * random.poisson(0.02, shape)),
        "lines on noise": (
            20,
            lambda random, shape: np.where(
                random.random(shape) < 0.02,
                10.0 ** random.uniform(0, 3, shape),
                1e-3 * random.normal(size=shape),
            ),
        ),
    }.values(),
)
def test_curves_of_many_kinds_give_no_flood(most, make):
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        y = draw_curves(make)
    assert len(find_lost_points(np.where(np.isfinite(y), y, np.nan)).rows) <= most


cell = st.one_of(
    st.sampled_from([1.0, 1.1, 0.9, 1.3, 1000.0, 1100.0, 900.0, -1.0, 0.0, 1e6, math.nan]),
    st.floats(-1e150, 1e150),
    st.floats(-60000, 60000, width=16),
)
smooth = st.builds(
    lambda start, slope, n: [start + slope * row for row in range(n)],
    st.floats(-10, 10),
    st.floats(-1, 1),
    st.integers(5, 30),
)


@given(st.lists(cell, max_size=30))
def test_any_cells_follow_the_rule(y):
    assert find_suspects(y) == find_plainly(y)


@given(
    smooth, st.lists(st.tuples(st.integers(0, 29), st.sampled_from([1e3, 1e4, 700, 1])), max_size=3)
)
def test_changed_cells_of_a_line_follow_the_rule(y, changes):
    for row, factor in changes:
        y[row % len(y)] *= factor
    assert find_suspects(y) == find_plainly(y)


@pytest.mark.parametrize("values", [1, 7, 40])
def test_the_size_of_parts_changes_nothing(values):
    y = np.cos(X / 5) + np.arange(2, 8)[:, np.newaxis]
    y[np.arange(6), [0, 5, 6, 7, 39, 399]] *= 1000
    wanted = find_suspects(*y)
    assert find_suspects(*y, values_at_once=values) == wanted
    table = Table(X, y, tuple("abcdef"))
    assert summarize(table, with_x=True, part_bytes=values * 8) == summarize(table, with_x=True)
    assert [row for _, row, _ in wanted] == [0, 5, 6, 7, 39, 399]


class TestSummaries:
    def test_figures_of_curves_with_gaps_and_without_numbers(self):
        y = np.array([[1.0, np.nan, 3.0], [np.nan] * 3, [-1.0, 0.0, 4.0], [1e308] * 3])
        curves = summarize(Table(np.arange(3.0), y, ("a", "b", "c", "d")), with_x=True).curves
        assert [(f.n_gaps, f.y_min, f.y_max, f.y_mean) for f in curves] == [
            (1, 1.0, 3.0, 2.0),
            (3, None, None, None),
            (0, -1.0, 4.0, 1.0),
            (0, 1e308, 1e308, 1e308),
        ]

    def test_warnings_name_the_cell_and_what_would_fit(self):
        y = np.cos(X / 5) + 2
        broken = y.copy()
        broken[7] = -729.0
        broken[5:10] -= 2.7 + broken[6]
        broken[7] = -2700.0
        table = Table(X, np.array([y, broken]), ("a", "b"))
        summary = summarize(table, with_x=True)
        assert summary.n_warnings == len(summary.warnings) == 1
        (warning,) = summary.warnings
        assert (warning.code, warning.column, warning.row) == (LOST_POINT, "b", 7)
        assert "-2700.0 is thousands of times its neighbours; -2.7 would fit" in warning.detail

    def test_x_is_looked_at_where_it_is_new(self):
        x = np.arange(1.0, 99)
        x[50] *= 1000
        table = Table(x, np.ones((1, 98)), ("y",), "time")
        assert [w.column for w in summarize(table, with_x=True).warnings] == ["time"]
        assert summarize(table, with_x=False).warnings == []

    def test_the_first_hundred_are_kept_and_all_are_counted(self):
        y = np.ones((60, 100))
        y[:, [10, 20, 30]] = 1000
        summary = summarize(Table(X[:100], y, tuple(map(str, range(60)))), with_x=True)
        assert (len(summary.warnings), summary.n_warnings) == (MOST_WARNINGS, 180)
        assert summary.warnings[99].column == "33"


def test_a_curve_of_one_number_is_told():
    """Oscilloscopes write the start and the step of x beside the first row."""
    nan = math.nan
    table = Table(
        np.array([0.0, 1.0, 2.0]),
        np.array([[0.1, 0.2, 0.1], [nan, -0.05, nan], [nan, nan, nan], [1, nan, 2]]),
        ("CH1", "Start", "empty", "two"),
    )
    (warning,) = summarize(table, with_x=True).warnings
    assert (warning.code, warning.column, warning.row) == ("one_number", "Start", 1)
    short = Table(table.x[:2], table.y[:, :2].copy(), table.names)
    assert not summarize(short, with_x=True).warnings
    no_x = Table(np.array([nan, 1.0, nan]), table.y[:1], ("CH1",))
    assert not summarize(no_x, with_x=True).warnings
