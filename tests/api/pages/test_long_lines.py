"""Lines that are thinned while they are read: the same as of whole curves, in bounded memory."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pages.long_lines import find_order, thin_pieces
from api.pages.shapes import MAX_DRAWN, prepare_line

RNG = np.random.default_rng(11)


class Arrays:
    """Curves in memory, handed out in pieces of some rows."""

    def __init__(self, x, y, step):
        self.x, self.y, self.step, self.n_points = x, y, step, x.size

    def read_x(self):
        for start in range(0, self.x.size, self.step):
            yield self.x[start : start + self.step]

    def read(self, *, backwards):
        starts = range(0, self.x.size, self.step)
        for start in reversed(starts) if backwards else starts:
            rows = slice(start, start + self.step)
            yield self.x[rows], self.y[:, rows]


def thinned(x, y, step):
    y = np.atleast_2d(y)
    gaps = np.isnan(y).sum(axis=1).tolist()
    least, largest = np.fmin.reduce(x), np.fmax.reduce(x)
    ends = (0.0, 0.0) if np.isnan(least) else (float(least), float(largest))
    return thin_pieces(Arrays(x, y, step), gaps, ends)


def some_curves(n, share_of_gaps):
    """Walks with ties, jumps, zeros of both signs and gaps; one without any gap."""
    y = RNG.normal(size=(4, n)).cumsum(axis=1)
    y[1] = np.round(y[1])
    y[2] = RNG.choice([-0.0, 0.0, 1.0, -1.0, 5e-324, 1e308], size=n)
    y[:3][RNG.random((3, n)) < share_of_gaps] = np.nan
    y[0, n // 3 : n // 2] = np.nan
    return y


@pytest.mark.parametrize("share_of_gaps", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("n", [1001, 1002, 5000, 12345])
@pytest.mark.parametrize("x_order", ["up", "ties", "down"])
def test_the_points_are_those_of_the_whole_curve(n, share_of_gaps, x_order):
    x = np.arange(n) / 7.0
    x = {"up": x, "ties": np.round(x), "down": x[::-1]}[x_order]
    y = some_curves(n, share_of_gaps)
    for step in (64, 997, n):
        for (found_x, found_y), one in zip(thinned(x, y, step), y, strict=True):
            expected_x, expected_y = prepare_line(x, one)
            np.testing.assert_array_equal(found_x, expected_x)
            assert found_y.tobytes() == expected_y.tobytes()


def check_any_order(x, y, step):
    """What holds in any order: bounded, in order, true points, the extremes, and the breaks."""
    ((found_x, found_y),) = thinned(x, y, step)
    assert found_x.size <= MAX_DRAWN
    assert (np.diff(found_x) >= 0).all()
    numbers = ~np.isnan(x) & ~np.isnan(y)
    assert not np.isnan(found_x).any()
    points = set(zip(x[numbers].tolist(), y[numbers].tolist(), strict=True))
    shown = ~np.isnan(found_y)
    assert set(zip(found_x[shown].tolist(), found_y[shown].tolist(), strict=True)) <= points
    if not points:
        assert found_x.size == 0
        return
    for pick in (np.min, np.max):
        assert pick(found_y[shown]) == pick(y[numbers])
        assert pick(found_x[shown]) == pick(x[numbers])
    # Between two neighbours of the thinned curve there is no gap, unless it breaks there.
    gaps = np.sort(x[~np.isnan(x) & np.isnan(y)])
    places = np.flatnonzero(shown)
    for left, right in pairwise(places):
        inside = gaps[(gaps > found_x[left]) & (gaps < found_x[right])]
        if inside.size:
            assert right == left + 2
        elif right > left + 1:
            assert found_x[left + 1] in gaps


@pytest.mark.parametrize("missing_x", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("share_of_gaps", [0.0, 0.01, 0.9, 1.0])
@pytest.mark.parametrize("n", [3, 1500, 9000])
def test_in_any_order_of_x_the_extremes_and_the_breaks_are_kept(n, share_of_gaps, missing_x):
    x = RNG.permutation(np.round(RNG.normal(size=n) * 1000, 1))
    y = RNG.normal(size=n) * 10.0 ** RNG.integers(-300, 300, n)
    y[RNG.random(n) < share_of_gaps] = np.nan
    x[RNG.random(n) < missing_x] = np.nan
    for step in (97, n):
        check_any_order(x, y, step)


NUMBERS = st.floats(allow_infinity=False, width=64)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40), st.integers(1, 50))
def test_any_numbers_can_be_thinned(points, step):
    x, y = np.array(points).T
    check_any_order(x, y, step)


@pytest.mark.parametrize(
    ("x", "order"),
    [
        ([1.0], "up"),
        ([1.0, 1.0, 2.0], "up"),
        ([-0.0, 0.0], "up"),
        ([3.0, 2.0, 1.0], "down"),
        ([3.0, 3.0, 1.0], "none"),
        ([1.0, 3.0, 2.0], "none"),
        ([np.nan], "none"),
        ([np.nan, 1.0], "none"),
        ([1.0, np.nan], "none"),
    ],
)
def test_the_order_of_x_is_found_across_pieces(x, order):
    x = np.array(x)
    for step in range(1, x.size + 1):
        assert find_order(Arrays(x, x[None], step).read_x()) == order
