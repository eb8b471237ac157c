"""The fast paths of a mapping give the bits of the slow ones (services/grids.py, mapping.py)."""

import math
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import grids
from services.mapping import assign
from services.mapping.assign import Sizes
from services.mapping.few_points import assign_few_points
from services.mapping.functions import Functions, tabulate
from services.mapping.items import ITEM
from services.mapping.options import MapOptions
from services.mapping.tally import Tally
from services.tables import Table
from tests import naive
from tests.examples import examples
from tests.factories import numbers
from tests.services.mapping.test_assign import POLICIES, draw_mappings


def check_alignment(x, grid, alignment, tolerance):
    """Assert that guessing and searching give the same alignment."""
    guessed = grids.align(x, grid, alignment, tolerance)
    searched = grids.align(x, replace(grid, slots_per_x=0.0), alignment, tolerance)
    covered = searched.covered
    assert np.array_equal(guessed.covered, covered)
    for field in fields(guessed):
        one, other = (getattr(found, field.name)[covered] for found in (guessed, searched))
        assert np.array_equal(one, other), field.name
    return guessed


@st.composite
def draw_uniform_grids(draw):
    """Grids that lead a guess to its slot, jittered or rounded, in any order."""
    n = draw(st.integers(2, 40))
    start, step = draw(st.sampled_from([0.0, -20.0, 1e8, -1e-3])), draw(st.floats(1e-3, 1e3))
    jitter = draw(st.sampled_from([0.0, 1e-9, 0.1, 0.3]))
    random = np.random.default_rng(draw(st.integers(0, 9)))
    x = start + step * (np.arange(n) + jitter * random.uniform(-1, 1, n))
    return random.permutation(x) if draw(st.booleans()) else x


@given(draw_uniform_grids(), st.integers(0, 99))
@examples(150)
def test_a_guess_finds_what_a_search_finds(x, seed):
    grid = grids.sort_grid(x)
    random = np.random.default_rng(seed)
    step, value = grid.step, random.choice(x, 60)
    near = np.concatenate(
        [value]
        + [value + f * step for f in (1e-6, -1e-6, 0.25, -0.25, 0.5, -0.5, 0.7)]
        + [np.nextafter(value, math.inf), np.nextafter(value, -math.inf), x - 3 * step, x + 99]
        + [numbers([None, 1e308, -1e308, 0.0, -0.0])]
    )
    for tolerance in (None, 0.0, 0.25 * step, np.nextafter(0.25 * step, 1), 0.5 * step, 1e300):
        found = check_alignment(near, grid, "exact", tolerance)
        options = SimpleNamespace(alignment="exact", x_tolerance=tolerance)
        some = random.choice(np.flatnonzero(~np.isnan(near)), 20)
        for place, i in zip(naive.places(near[some], x, options), some, strict=True):
            assert found.covered[i] == (place is not None)
            assert place is None or found.left[i] == place.left
    check_alignment(near, grid, "linear", None)


@pytest.mark.parametrize("tolerance", [0.25, math.nextafter(0.25, 0)])
def test_a_guess_keeps_the_border_of_the_tolerance(tolerance):
    grid = grids.sort_grid(np.arange(5.0))
    assert grid.slots_per_x == 1
    found = check_alignment(numbers([1.25, 0.75, 4.25, -0.25]), grid, "exact", tolerance)
    assert found.covered.tolist() == [tolerance == 0.25] * 4


@pytest.mark.parametrize("start", [0.1, 1.0, 1e8, 5e-324])
def test_a_grid_with_values_one_ulp_apart(start):
    x = [start]
    for _ in range(6):
        x.append(math.nextafter(x[-1], math.inf))
    near = numbers([*x, math.nextafter(start, -1), math.nextafter(x[-1], math.inf)])
    for alignment in ("exact", "linear"):
        found = check_alignment(near, grids.sort_grid(numbers(x[::-1])), alignment, None)
        assert found.covered.tolist() == [True] * 7 + [False] * 2
        assert found.left[:7].tolist() == list(range(6, -1, -1))


@pytest.mark.parametrize(
    "x", [[0, 1, 10], [-1.7e308, 1.7e308], [0, 1e-320], [7], [0, 1, 2, 3, 4, 5, 6, 100]]
)
def test_grids_that_cannot_be_guessed_are_searched(x):
    grid = grids.sort_grid(numbers(x))
    near = np.concatenate([grid.x, grid.x / 3, numbers([None, 0.5, 1e300, -1e300])])
    for alignment in ("exact", "linear"):
        check_alignment(near, grid, alignment, None)


def as_bytes(test, grid, functions, options, **sizes):
    blocks = assign.assign(test, grid, functions, options, Sizes(**sizes))
    return b"".join(items.tobytes() for items in blocks)


@given(draw_mappings(), st.sampled_from([1, 3, 64]))
@examples(150)
def test_table_or_curves_and_any_chunk_give_the_same_bits(question, chunk):
    few, grid, functions, options = question
    # As many points as a table is worth.
    test = Table(np.tile(few.x, 6), np.tile(few.y, (1, 6)), few.names)
    expected = as_bytes(test, grid, functions, options)
    for sizes in ({"block_rows": 5}, {"table_values": 0}, {"table_values": 0, "block_rows": 4}):
        some = as_bytes(test, grid, functions, options, deviations_at_once=chunk, **sizes)
        assert some == expected


@given(draw_mappings(), st.booleans())
@examples(300)
def test_points_one_by_one_give_the_same_bits_and_figures(question, uniform):
    test, grid, functions, options = question
    if uniform:
        grid = np.arange(grid.size) * 0.5
        test = replace(test, x=np.random.default_rng(1).choice(grid, test.x.size))
    test = replace(test, y=test.y[:1], names=("y",))
    ordered = grids.sort_grid(grid)
    table = tabulate(functions, ordered, options.alignment)
    known = replace(functions, tables={options.alignment: table})
    few = assign_few_points(test.x.tolist(), test.y[0].tolist(), ordered, known, options)
    for given_functions in (functions, known):
        one, other = Tally(len(functions.limit)), Tally(len(functions.limit))
        items = np.concatenate(list(assign.assign(test, grid, given_functions, options)))
        # The words tell -0.0 from 0.0 and find NaN equal.
        assert repr(few) == repr(items.tolist())
        one.add_rows(few)
        other.add(items)
        assert one == other


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("alignment", ["exact", "linear"])
def test_more_points_than_a_block_agree_with_blocks_of_one_size(policy, alignment):
    random = np.random.default_rng(3)
    grid = random.permutation(np.round(np.arange(-20, 20, 0.1), 1))
    curves = random.normal(size=(5, grid.size))
    curves[random.random(curves.shape) < 0.1] = np.nan
    functions = Functions(curves, random.normal(size=5), random.normal(size=5), np.full(5, 0.5))
    x = random.choice(grid, 20_000) + random.choice([0.0, 0.04, 1e-8], 20_000)
    test = Table(x, random.normal(size=(2, x.size)), ("a", "b"))
    options = MapOptions(policy=policy, alignment=alignment)
    assert as_bytes(test, grid, functions, options) == as_bytes(
        test, grid, functions, options, block_rows=777
    )


def test_an_infinite_deviation_is_the_nearest_of_those_that_admit():
    functions = Functions(numbers([1e308, 0]).reshape(2, 1), *np.ones((2, 2)), numbers([np.inf, 0]))
    test = Table(numbers([0.0]), numbers([-1.7e308]).reshape(1, 1), ("y",))
    (items,) = assign.assign(test, numbers([0.0]), functions, MapOptions(policy="nearest"))
    assert items["function"].tolist() == [0]
    assert np.isinf(items["deviation"]).all()
    tally = Tally(2)
    tally.add(items)
    assert (tally.counts, tally.deviation_mean(0)) == ([1, 0], None)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, allow_nan=False)), max_size=40))
@examples(100)
def test_a_tally_adds_any_floats_of_any_functions_exactly(pairs):
    items = np.zeros(len(pairs), dtype=ITEM)
    items["function"], items["deviation"] = [f for f, _ in pairs], [d for _, d in pairs]
    tally = Tally(4)
    tally.add(items)
    for function in range(4):
        values = [d for f, d in pairs if f == function]
        assert tally.counts[function] == len(values)
        if values and max(values) < math.inf:
            exact = sum(_units(v) for v in values)
            assert tally.deviation_mean(function) == exact / (len(values) << 1074)


def _units(value):
    numerator, denominator = value.as_integer_ratio()
    return numerator * ((1 << 1074) // denominator)
