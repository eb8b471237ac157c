"""Places of x on a grid (docs/method.md, "Pair")."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services import grids
from services.errors import GridError, InvalidOption
from tests import factories, naive
from tests.examples import examples
from tests.factories import numbers

TENTH = [0.1, math.nextafter(0.1, 1), math.nextafter(math.nextafter(0.1, 1), 1)]


def find_row(x, grid, x_tolerance=None):
    """Find the row of the grid for one x, None where it is not covered."""
    found = grids.align(numbers([x]), numbers(grid), "exact", x_tolerance)
    assert found.left[0] == found.right[0] or not found.covered[0]
    return int(found.left[0]) if found.covered[0] else None


def read_value(x, grid, curve):
    """Read one curve at one x; None where not covered, "gap" at a gap."""
    found = grids.align(numbers([x]), numbers(grid), "linear", None)
    values, present = grids.read_curves(numbers(curve)[np.newaxis], found)
    if not found.covered[0]:
        return None
    return float(values[0, 0]) if present[0, 0] else "gap"


# --- what a grid is


@pytest.mark.parametrize("role", ["training", "library"])
def test_a_repeated_x_is_refused_and_its_row_named(role):
    with pytest.raises(GridError) as refusal:
        grids.check_grid(numbers([0, 1, 2, 1]), role)
    assert 3 in {fact.row for fact in refusal.value.facts}
    assert role in refusal.value.detail


def test_a_missing_x_is_refused_and_its_rows_named():
    with pytest.raises(GridError) as refusal:
        grids.check_grid(numbers([0, None, 2, None]), "training")
    assert {fact.row for fact in refusal.value.facts} == {1, 3}


def test_zero_and_minus_zero_are_the_same_x():
    with pytest.raises(GridError) as refusal:
        grids.check_grid(numbers([0.0, 1.0, -0.0]), "library")
    assert 2 in {fact.row for fact in refusal.value.facts}


def test_every_repeated_row_of_three_equal_ones_is_named():
    with pytest.raises(GridError) as refusal:
        grids.check_grid(numbers([5, 5, 4, 5]), "library")
    assert {1, 3} <= {fact.row for fact in refusal.value.facts}


def test_a_refusal_shows_plain_numbers():
    with pytest.raises(GridError) as refusal:
        grids.check_grid(numbers([0.5, 0.5]), "library")
    words = refusal.value.detail + "".join(fact.detail for fact in refusal.value.facts)
    assert "0.5" in words
    assert "float64" not in words


def test_x_one_ulp_apart_are_a_grid():
    grids.check_grid(numbers(TENTH), "library")


def test_a_single_point_is_a_grid():
    grids.check_grid(numbers([7]), "library")


# --- the default tolerance


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ([0, 1, 2], 1e-6),
        ([5, 0, 2], 2e-6),
        ([3.0, 2.5, 1.0], 1e-6 * 0.5),
        ([42], 0.0),
        (TENTH, 1e-6 * (TENTH[1] - TENTH[0])),
    ],
)
def test_the_default_tolerance_is_a_millionth_of_the_smallest_step(grid, expected):
    assert grids.default_tolerance(numbers(grid)) == expected


def test_the_default_tolerance_of_the_widest_grid_is_finite():
    widest = numbers([-1.7e308, 1.7e308])
    assert grids.default_tolerance(widest) == pytest.approx(3.4e302, rel=1e-12)


# --- exact alignment


def test_the_nearest_grid_value_is_taken():
    assert find_row(1.4, [0, 2, 1], x_tolerance=1) == 2


@pytest.mark.parametrize(("grid", "row"), [([0, 1], 0), ([1, 0], 1)])
def test_midway_the_smaller_grid_value_is_taken(grid, row):
    assert find_row(0.5, grid, x_tolerance=0.5) == row


def test_the_tolerance_itself_is_included_and_one_ulp_more_is_not():
    assert find_row(0.25, [0, 1], x_tolerance=0.25) == 0
    assert find_row(0.25, [0, 1], x_tolerance=math.nextafter(0.25, 0)) is None
    assert find_row(math.nextafter(0.25, 1), [0, 1], x_tolerance=0.25) is None


def test_the_default_tolerance_is_applied():
    assert find_row(1 + 0.9e-6, [0, 1, 2]) == 1
    assert find_row(1 + 1.1e-6, [0, 1, 2]) is None


def test_a_grid_of_one_point_wants_equality_by_default():
    assert find_row(7.0, [7.0]) == 0
    assert find_row(math.nextafter(7.0, 8), [7.0]) is None


def test_a_tolerance_of_zero_wants_equal_floats():
    for row, x in enumerate(TENTH):
        assert find_row(x, TENTH, x_tolerance=0.0) == row
    assert find_row(math.nextafter(TENTH[0], 0), TENTH, x_tolerance=0.0) is None


@pytest.mark.parametrize(("x", "grid"), [(0.0, [-0.0, 1.0]), (-0.0, [0.0, 1.0])])
def test_a_tolerance_of_zero_takes_zero_for_minus_zero(x, grid):
    assert find_row(x, grid, x_tolerance=0.0) == 0
    assert read_value(x, grid, [3, 4]) == 3


def test_x_one_ulp_apart_are_told_apart():
    for row, x in enumerate(TENTH):
        assert find_row(x, TENTH) == row


def test_the_distance_is_the_one_of_float64():
    # 1e16 - 1 rounds to 1e16, so both grid values are as near in float64: the smaller one.
    assert find_row(1e16, [1.0, 0.0], x_tolerance=1e17) == 1


def test_grid_values_as_near_in_float64_need_no_neighbours():
    assert find_row(1e17, [0.5, 0.0, -1.0, -3.0, 2.0], x_tolerance=1e18) == 3


def test_a_missing_x_is_not_covered():
    assert find_row(None, [0, 1], x_tolerance=10.0) is None
    assert read_value(None, [0, 1], [0, 1]) is None


def test_x_that_overflow_the_distance_are_not_covered():
    assert find_row(1.7e308, [-1.7e308], x_tolerance=1.7e308) is None


def test_no_x_at_all_is_an_empty_alignment():
    for alignment in ("exact", "linear"):
        found = grids.align(numbers([]), numbers([0, 1]), alignment, None)
        values, present = grids.read_curves(np.ones((3, 2)), found)
        assert found.covered.shape == (0,)
        assert values.shape == present.shape == (3, 0)


# --- linear alignment


def test_between_two_grid_values_the_line_is_read():
    assert read_value(0.25, [0, 1], [10, 20]) == 12.5


def test_the_order_of_the_formula_is_the_documented_one():
    x0, x1, x, f0, f1 = 0.1, 0.7, 0.3, 1.3, 2.9
    expected = f0 + (f1 - f0) * (x - x0) / (x1 - x0)
    assert expected != f0 + (f1 - f0) * ((x - x0) / (x1 - x0))
    assert read_value(x, [x0, x1], [f0, f1]) == expected
    assert read_value(x, [x1, x0], [f1, f0]) == expected


def test_a_grid_x_gives_its_own_value_and_needs_only_it():
    assert read_value(1, [0, 1, 2], [None, 5, None]) == 5
    assert read_value(0, [2, 1, 0], [None, None, 5]) == 5
    assert read_value(2, [0, 2], [None, 5]) == 5


@pytest.mark.parametrize("curve", [[None, 1], [1, None]])
def test_a_gap_in_a_neighbour_is_a_gap_between(curve):
    assert read_value(0.5, [0, 1], curve) == "gap"


def test_a_gap_further_away_is_none():
    assert read_value(0.5, [0, 1, 2], [1, 2, None]) == 1.5


@pytest.mark.parametrize("x", [math.nextafter(0, -1), math.nextafter(2, 3), -1, 3])
def test_linear_alignment_never_leaves_the_grid(x):
    assert read_value(x, [0, 1, 2], [1, 2, 3]) is None


def test_a_single_point_has_no_between():
    assert read_value(7, [7], [1]) == 1
    assert read_value(math.nextafter(7, 8), [7], [1]) is None


def test_linear_alignment_next_to_x_one_ulp_apart():
    x = (TENTH[0] + 1) / 2
    grid = [*TENTH, 1.0]
    curve = [1.0, 2.0, 3.0, 4.0]
    assert read_value(TENTH[1], grid, curve) == 2.0
    assert read_value(x, grid, curve) == 3 + (4 - 3.0) * (x - TENTH[2]) / (1 - TENTH[2])


def test_a_line_that_overflows_is_no_gap():
    found = grids.align(numbers([0.5]), numbers([0, 1]), "linear", None)
    values, present = grids.read_curves(numbers([-1.7e308, 1.7e308])[np.newaxis], found)
    assert present[0, 0]
    assert not np.isfinite(values[0, 0])


def test_x_tolerance_does_not_apply_to_linear_alignment():
    with pytest.raises(InvalidOption) as refusal:
        grids.check_tolerance("linear", 0.5)
    assert refusal.value.facts[0].pointer == "/x_tolerance"
    grids.check_tolerance("linear", None)


@pytest.mark.parametrize("x_tolerance", [-1.0, -5e-324, math.inf, math.nan])
def test_a_tolerance_is_a_finite_number_and_not_negative(x_tolerance):
    with pytest.raises(InvalidOption):
        grids.check_tolerance("exact", x_tolerance)


@pytest.mark.parametrize("x_tolerance", [None, 0.0, -0.0, 1.0])
def test_ordinary_tolerances_pass(x_tolerance):
    grids.check_tolerance("exact", x_tolerance)


# --- against the loops


@st.composite
def draw_searches(draw):
    grid = draw(factories.grids())
    x = draw(factories.x_for(grid, unique=False))
    if draw(st.booleans()):
        x.insert(draw(st.integers(0, len(x))), None)
    curves = [
        draw(factories.a_curve(len(grid), draw(st.sampled_from(factories.KINDS)), gaps=True))
        for _ in range(draw(st.integers(1, 3)))
    ]
    return x, grid, curves, draw(factories.TOLERANCES)


@given(draw_searches(), st.sampled_from(["exact", "linear"]))
@example(([0.5], [0.0, 1.0], [[1, 2]], 0.5), "exact")
@example(([1e17], [0.5, 0.0, -1.0, -3.0, 2.0], [[1, 2, 3, 4, 5]], 1e300), "exact")
@example(([0.0], [-5e-324, 5e-324], [[1, 2]], None), "exact")
@examples(250)
def test_alignment_and_reading_agree_with_the_loops(search, alignment):
    x, grid, curves, x_tolerance = search
    x, grid = numbers(x), numbers(grid)
    x_tolerance = x_tolerance if alignment == "exact" else None
    found = grids.align(x, grid, alignment, x_tolerance)
    values, present = grids.read_curves(np.array([numbers(c) for c in curves]), found)
    options = SimpleNamespace(alignment=alignment, x_tolerance=x_tolerance)
    searched = np.where(np.isnan(x), grid[0], x)
    expected = naive.places(searched, grid, options)
    covered = [place is not None and not np.isnan(x[i]) for i, place in enumerate(expected)]
    assert found.covered.tolist() == covered
    for i in np.flatnonzero(covered):
        place = expected[i]
        assert (found.left[i], found.right[i]) == (place.left, place.right)
        if place.left != place.right:
            assert (found.rise[i], found.run[i]) == (place.rise, place.run)
        for j, curve in enumerate(curves):
            value = naive.value_at(place, numbers(curve))
            assert present[j, i] == (value is not None)
            if value is not None:
                assert np.array_equal(values[j, i], value, equal_nan=True)


@given(draw_searches(), st.randoms(use_true_random=False))
@examples(60)
def test_the_order_of_the_grid_does_not_matter(search, random):
    x, grid, _, x_tolerance = search
    order = list(range(len(grid)))
    random.shuffle(order)
    shuffled = numbers([grid[i] for i in order])
    for alignment, tolerance in (("exact", x_tolerance), ("linear", None)):
        one = grids.align(numbers(x), numbers(grid), alignment, tolerance)
        other = grids.align(numbers(x), shuffled, alignment, tolerance)
        assert np.array_equal(one.covered, other.covered)
        for side in ("left", "right"):
            rows = np.asarray(order)[getattr(other, side)[other.covered]]
            assert np.array_equal(getattr(one, side)[one.covered], rows)


def test_a_thousand_x_on_a_shuffled_grid_agree_with_the_loops():
    random = np.random.default_rng(1)
    grid = random.permutation(np.round(np.arange(-20, 20, 0.1), 1))
    x = np.concatenate([grid, grid + 1e-8, grid + 0.05, random.uniform(-21, 21, 300)])
    for options in (
        SimpleNamespace(alignment="exact", x_tolerance=None),
        SimpleNamespace(alignment="exact", x_tolerance=0.05),
        SimpleNamespace(alignment="linear", x_tolerance=None),
    ):
        found = grids.align(x, grid, options.alignment, options.x_tolerance)
        expected = naive.places(x, grid, options)
        assert found.covered.tolist() == [place is not None for place in expected]
        covered = [i for i, place in enumerate(expected) if place is not None]
        assert found.left[covered].tolist() == [expected[i].left for i in covered]
        assert found.right[covered].tolist() == [expected[i].right for i in covered]
