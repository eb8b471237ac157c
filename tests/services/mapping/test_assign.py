"""Which test points the chosen functions admit (docs/method.md, "Mapping")."""

import math
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.choices import Policy, Transform
from services.errors import InvalidOption
from services.mapping import assign, limits
from services.mapping.assign import Sizes
from services.mapping.functions import Functions
from services.mapping.items import DEVIATION, ITEM, MAPPED, MISSING, NOT_COVERED, REASONS
from services.mapping.options import MapOptions
from services.mapping.tally import Tally
from services.scoring.options import FitOptions
from tests import factories, naive
from tests.examples import examples
from tests.factories import (
    a_library,
    a_table,
    a_training,
    fit_blocks,
    in_blocks,
    numbers,
    some_points,
)

POLICIES = get_args(Policy)
UP = math.inf


def some_functions(*curves, limit, scale=None, offset=None):
    """Chosen functions; one limit for all of them, or one for each."""
    k = len(curves)
    return Functions(
        np.array([numbers(curve) for curve in curves]),
        numbers(scale or [1.0] * k),
        numbers(offset or [0.0] * k),
        numbers([limit] * k if isinstance(limit, (int, float)) else limit),
    )


def map_points(test, functions, *, x=None, block_rows=None, **options):
    """Map, and return the items as tuples like those of the oracle."""
    grid = numbers(range(functions.curves.shape[1]) if x is None else x)
    found = assign.assign(test, grid, functions, MapOptions(**options), Sizes(block_rows))
    return [as_item(row) for items in found for row in items]


def as_item(row):
    assert row.dtype == ITEM
    reason = REASONS[row["reason"]]
    assert (reason is None) == (row["function"] >= 0) == (not np.isnan(row["deviation"]))
    return naive.Item(
        int(row["point"]),
        int(row["column"]),
        int(row["function"]),
        reason,
        float(row["x"]),
        float(row["y"]),
        None if reason else float(row["deviation"]),
    )


def pick(test, functions, **options):
    """Map, and return the function of each item, or the reason if there is none."""
    return [item.reason or item.function for item in map_points(test, functions, **options)]


def judge_point(x, y, functions, **options):
    """Find all functions of one point, or its reason."""
    found = pick(some_points((x, y)), functions, **options)
    return found[0] if isinstance(found[0], str) else found


# --------------------------------------------------------------------------- the limit


def test_the_limit_is_the_product_in_float64():
    deviations = numbers([0.1, 0.3, 0.0, 1e-320])
    found = limits.admission_limits(deviations, math.sqrt(2))
    assert found.tolist() == [d * math.sqrt(2) for d in deviations.tolist()]


def test_the_factor_is_the_square_root_of_two_unless_told_otherwise():
    assert MapOptions().tolerance_factor == math.sqrt(2)


def test_the_limit_itself_is_admitted_and_one_ulp_more_is_not():
    limit = float(limits.admission_limits(numbers([0.3]), math.sqrt(2))[0])
    functions = some_functions([0.0], limit=limit)
    for y in (limit, -limit, math.nextafter(limit, 0), 0.0):
        assert judge_point(0, y, functions) == [0]
    for y in (math.nextafter(limit, UP), -math.nextafter(limit, UP)):
        assert judge_point(0, y, functions) == "deviation"


def test_the_deviation_is_rounded_before_it_is_compared():
    # 1 + 2**-53 is 1 in float64, so the deviation is the limit.
    functions = some_functions([-(2.0**-53)], limit=1)
    assert judge_point(0, 1.0, functions) == [0]
    assert judge_point(0, math.nextafter(1.0, 2), functions) == "deviation"


def test_a_perfect_fit_admits_only_points_on_the_curve():
    functions = some_functions([2.5, 7.0], limit=0)
    assert judge_point(1, 7.0, functions) == [0]
    assert judge_point(1, math.nextafter(7.0, 8), functions) == "deviation"


def test_a_limit_that_overflows_admits_any_number():
    limit = limits.admission_limits(numbers([1e300]), 1e300)
    functions = some_functions([-1.7e308], limit=limit.tolist())
    (item,) = map_points(some_points((0, 1.0)), functions)
    assert item.function == 0


@pytest.mark.parametrize("factor", [-1.0, math.inf, math.nan])
def test_a_factor_is_a_finite_number_and_not_negative(factor):
    with pytest.raises(InvalidOption):
        map_points(some_points((0, 0)), some_functions([0], limit=1), tolerance_factor=factor)


def test_linear_alignment_refuses_an_x_tolerance():
    with pytest.raises(InvalidOption):
        map_points(
            some_points((0, 0)), some_functions([0], limit=1), alignment="linear", x_tolerance=1.0
        )


# --------------------------------------------------------------------------- g = a·f + b


def test_the_function_is_scaled_and_shifted():
    functions = some_functions([3.0], limit=0, scale=[2.0], offset=[-1.0])
    assert judge_point(0, 5.0, functions) == [0]


def test_the_product_and_the_sum_are_rounded_one_after_the_other():
    a, f, b = 1 / 3, 3.3, 0.1
    assert Fraction(a) * Fraction(f) + Fraction(b) != Fraction(a * f + b)
    functions = some_functions([f], limit=0, scale=[a], offset=[b])
    assert judge_point(0, a * f + b, functions) == [0]
    assert judge_point(0, math.nextafter(a * f + b, UP), functions) == "deviation"


def test_no_fused_multiply_and_add():
    a, f = 1 + 2.0**-30, 1 - 2.0**-30
    # a·f is 1 - 2**-60, which is 1 in float64; a fused one would leave -2**-60.
    functions = some_functions([f], limit=0, scale=[a], offset=[-1.0])
    assert judge_point(0, 0.0, functions) == [0]


@pytest.mark.parametrize("transform", get_args(Transform))
@pytest.mark.parametrize("alignment", ["exact", "linear"])
def test_a_training_point_deviates_in_a_mapping_as_in_the_fit(transform, alignment):
    random = np.random.default_rng(4)
    x = random.permutation(50) + (0.25 if alignment == "linear" else 0.0)
    library = a_library(*random.normal(size=(3, 51)))
    training = a_training(random.normal(size=50), x=x)
    options = FitOptions(transform=transform, alignment=alignment)
    (match,) = fit_blocks(training, np.arange(1), library.x, in_blocks(library), options)
    functions = Functions(
        library.y[[match.ideal_index]],
        numbers([match.scale]),
        numbers([match.offset]),
        limits.admission_limits(numbers([match.max_deviation]), 1.0),
    )
    items = map_points(training, functions, alignment=alignment)
    assert [item.reason for item in items] == [None] * 50
    deviations = np.array([item.deviation for item in items])
    assert np.max(deviations) == match.max_deviation
    assert np.sum(deviations) / 50 == match.mae
    assert np.sum(deviations**2) == match.sse


def test_linear_alignment_reads_the_curve_before_it_is_scaled():
    a, f0, f1 = 0.1, 0.3, 0.7
    f = f0 + (f1 - f0) * (1 / 3 - 0.0) / (1.0 - 0.0)
    functions = some_functions([f0, f1], limit=0, scale=[a], offset=[0.7])
    assert judge_point(1 / 3, a * f + 0.7, functions, alignment="linear") == [0]


# --------------------------------------------------------------------------- policies


def test_all_names_every_function_that_admits_in_the_order_of_training_curves():
    functions = some_functions([5], [1], [0], [9], limit=2)
    assert judge_point(0, 0.5, functions) == [1, 2]


def test_nearest_takes_the_least_deviation():
    functions = some_functions([1], [0], limit=2)
    assert judge_point(0, 0.4, functions, policy="nearest") == [1]
    assert judge_point(0, 0.6, functions, policy="nearest") == [0]


def test_nearest_gives_ties_to_the_first_training_curve():
    functions = some_functions([9], [2], [0], [2], limit=2)
    assert judge_point(0, 1.0, functions, policy="nearest") == [1]


def test_a_nearer_function_that_refuses_does_not_hide_one_that_admits():
    functions = some_functions([1.0], [5.0], limit=[0.5, 10.0])
    assert judge_point(0, 2.0, functions, policy="nearest") == [1]


def test_a_nearest_function_with_a_gap_does_not_hide_one_that_admits():
    functions = some_functions([None], [5.0], limit=10)
    for policy in POLICIES:
        assert judge_point(0, 2.0, functions, policy=policy) == [1]


def test_first_takes_the_first_that_admits_though_another_is_nearer():
    functions = some_functions([9], [2], [0.5], limit=2)
    assert judge_point(0, 0.5, functions, policy="first") == [1]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_maps_a_point_that_no_function_admits(policy):
    functions = some_functions([9], [8], limit=2)
    assert judge_point(0, 0.0, functions, policy=policy) == "deviation"


def test_a_function_chosen_twice_gives_two_assignments():
    functions = some_functions([1], [1], limit=[2, 3])
    assert judge_point(0, 1.5, functions) == [0, 1]
    assert judge_point(0, 1.5, functions, policy="nearest") == [0]
    assert judge_point(0, 3.5, functions, policy="nearest") == [1]
    assert judge_point(0, 3.5, functions, policy="first") == [1]


# --------------------------------------------------------------------------- reasons


@pytest.mark.parametrize(("x", "y"), [(None, 1), (0, None), (None, None), (77, None)])
@pytest.mark.parametrize("alignment", ["exact", "linear"])
def test_a_point_without_x_or_y_is_missing(x, y, alignment):
    functions = some_functions([1, 1], limit=9)
    assert judge_point(x, y, functions, alignment=alignment) == "missing_value"


def test_a_point_without_y_is_missing_even_where_no_function_has_its_x():
    assert judge_point(0, None, some_functions([None], limit=9)) == "missing_value"


@pytest.mark.parametrize("x", [-1, 0.5, 2])
def test_an_x_off_the_grid_is_not_covered(x):
    assert judge_point(x, 1.0, some_functions([1, 1], limit=9)) == "x_not_covered"


@pytest.mark.parametrize("x", [math.nextafter(0, -1), math.nextafter(1, 2)])
def test_linear_alignment_does_not_leave_the_grid(x):
    functions = some_functions([1, 1], limit=9)
    assert judge_point(x, 1.0, functions, alignment="linear") == "x_not_covered"
    assert judge_point(0.5, 1.0, functions, alignment="linear") == [0]


def test_a_gap_in_every_function_does_not_cover():
    assert judge_point(0, 1.0, some_functions([None], [None], limit=9)) == "x_not_covered"


def test_one_function_without_a_gap_makes_it_a_deviation():
    assert judge_point(0, 1.0, some_functions([None], [50], limit=9)) == "deviation"


@pytest.mark.parametrize("curve", [[None, 1, 1], [1, None, 1]])
def test_a_gap_in_a_needed_neighbour_does_not_cover(curve):
    functions = some_functions(curve, limit=9)
    assert judge_point(0.5, 1.0, functions, alignment="linear") == "x_not_covered"


def test_a_grid_x_needs_only_its_own_value():
    functions = some_functions([None, 1, None], limit=9)
    assert judge_point(1, 1.0, functions, alignment="linear") == [0]


def test_the_x_tolerance_of_the_mapping_holds():
    functions = some_functions([1, 1], limit=9)
    assert judge_point(0.25, 1.0, functions, x_tolerance=0.25) == [0]
    assert judge_point(0.25, 1.0, functions, x_tolerance=0.2) == "x_not_covered"
    assert judge_point(0.9e-6, 1.0, functions) == [0]
    assert judge_point(1.1e-6, 1.0, functions) == "x_not_covered"


def test_a_point_midway_belongs_to_the_smaller_grid_value():
    functions = some_functions([7, 3], limit=0)
    assert judge_point(0.5, 7.0, functions, x_tolerance=0.5) == [0]
    assert pick(some_points((0.5, 3)), functions, x_tolerance=0.5, x=[1, 0]) == [0]


def test_a_function_that_overflows_covers_but_does_not_admit():
    functions = some_functions([1e300], limit=9, scale=[1e300])
    assert judge_point(0, 1.0, functions) == "deviation"


# --------------------------------------------------------------------------- items


def test_items_come_by_row_then_column_then_function():
    test = a_table([1, 0, 1], [0, 5, None], [1, 0, 1])
    functions = some_functions([0, 0], [1, 1], limit=1)
    found = map_points(test, functions)
    assert [(i.point, i.column, i.function, i.reason) for i in found] == [
        (0, 0, 0, None),
        (0, 0, 1, None),
        (0, 1, 0, None),
        (0, 1, 1, None),
        (1, 0, -1, "deviation"),
        (1, 1, 0, None),
        (1, 1, 1, None),
        (2, 0, -1, "missing_value"),
        (2, 1, 0, None),
        (2, 1, 1, None),
    ]


def test_an_item_carries_the_point_as_it_was():
    (item,) = map_points(some_points((0.9e-6, 1.5)), some_functions([1, 1], limit=9))
    assert item == (0, 0, 0, None, 0.9e-6, 1.5, 0.5)


def test_test_points_may_repeat_x():
    functions = some_functions([1, 2], limit=0.5)
    test = some_points((1, 2), (1, 2), (0, 1), (1, 9), (1, 2))
    assert pick(test, functions) == [0, 0, 0, "deviation", 0]


def test_the_order_of_the_grid_does_not_matter():
    test = some_points((0, 3), (1, 4), (2, 5))
    for x, curve in (([0, 1, 2], [3, 4, 5]), ([2, 1, 0], [5, 4, 3]), ([1, 2, 0], [4, 5, 3])):
        assert pick(test, some_functions(curve, limit=0), x=x) == [0, 0, 0]


def test_reason_codes_are_those_of_the_contract():
    assert REASONS[MAPPED] is None
    assert REASONS[DEVIATION] == "deviation"
    assert REASONS[NOT_COVERED] == "x_not_covered"
    assert REASONS[MISSING] == "missing_value"


# --------------------------------------------------------------------------- the tally


def tally_up(blocks, k):
    tally = Tally(k)
    for items in blocks:
        tally.add(items)
    return tally


def test_a_tally_counts_assignments_and_reasons():
    functions = some_functions([0.0, 0], [1, None], [50, 50], limit=1)
    test = some_points((0, 0.25), (1, 0.5), (1, 9), (7, 0), (None, 0), (0, None))
    tally = tally_up(assign.assign(test, numbers([0, 1]), functions, MapOptions(), Sizes(2)), 3)
    assert tally.n_assignments == 3
    assert tally.counts == [2, 1, 0]
    assert tally.unmapped_reasons == {"deviation": 1, "x_not_covered": 1, "missing_value": 2}
    assert [tally.deviation_max(k) for k in range(3)] == [0.5, 0.75, None]
    assert [tally.deviation_mean(k) for k in range(3)] == [0.375, 0.75, None]


def test_a_deviation_of_zero_is_not_no_deviation():
    blocks = assign.assign(
        some_points((0, 1)), numbers([0]), some_functions([1], limit=0), MapOptions()
    )
    tally = tally_up(blocks, 1)
    assert (tally.deviation_mean(0), tally.deviation_max(0)) == (0, 0)


@given(
    st.lists(st.one_of(*factories.KINDS).map(abs), min_size=1, max_size=12),
    st.sets(st.integers(1, 11), max_size=3),
    st.randoms(use_true_random=False),
)
@examples(60)
def test_the_mean_is_the_rational_one_rounded_once_for_any_cutting(deviations, cuts, random):
    items = np.zeros(len(deviations), dtype=ITEM)
    items["deviation"] = deviations
    blocks = np.split(items, sorted(cut for cut in cuts if cut < len(items)))
    random.shuffle(blocks)
    tally = tally_up(blocks, 1)
    exact = sum(Fraction(d) for d in deviations) / len(deviations)
    assert tally.deviation_mean(0) == float(exact)
    assert tally.deviation_max(0) == max(deviations)
    assert tally.counts == [len(deviations)]


# --------------------------------------------------------------------------- against the loops


@st.composite
def draw_mappings(draw):
    """Test points, a grid, functions and options, of one kind of values."""
    x = draw(factories.grids(max_size=5))
    kind = draw(st.sampled_from(factories.KINDS))
    k = draw(st.integers(1, 4))
    curves = [draw(factories.a_curve(len(x), kind, gaps=True)) for _ in range(k)]
    if draw(st.booleans()):
        curves[-1] = curves[0]
    plain = draw(st.booleans())
    factor = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1 / 3, 1e-3])
    shift = st.one_of(st.just(0.0), kind)
    deviation = st.one_of(st.sampled_from([0.0, 0.001, 1.0, 2.0, 1e-320]), kind.map(abs))
    functions = Functions(
        np.array([numbers(curve) for curve in curves]),
        numbers([1.0 if plain else draw(factor) for _ in range(k)]),
        numbers([0.0 if plain else draw(shift) for _ in range(k)]),
        limits.admission_limits(
            numbers([draw(deviation) for _ in range(k)]), draw(st.sampled_from([1, 2**0.5]))
        ),
    )
    points = draw(factories.x_for(x, unique=False))
    rows = [draw(st.sampled_from(range(k))) for _ in points]
    points = [None if draw(st.integers(0, 9)) == 0 else v for v in points]
    columns = [
        [draw(_draw_y(kind, curves, row)) for row in rows] for _ in range(draw(st.integers(1, 2)))
    ]
    alignment = draw(st.sampled_from(["exact", "linear"]))
    options = MapOptions(
        policy=draw(st.sampled_from(POLICIES)),
        alignment=alignment,
        x_tolerance=draw(factories.TOLERANCES) if alignment == "exact" else None,
    )
    return a_table(points, *columns), numbers(x), functions, options


def _draw_y(kind, curves, row):
    known = [value for value in curves[row] if value is not None]
    near = [v + d for v in known for d in (0.0, 1.0, -(2**0.5), 0.001) if math.isfinite(v + d)]
    return st.one_of(st.none(), kind, st.sampled_from(near)) if near else st.one_of(st.none(), kind)


def are_same_items(ours, theirs):
    """Tell whether items are equal; missing x and y are equal, too."""
    return repr(ours) == repr(theirs)


@given(draw_mappings(), st.sampled_from([None, 1, 2, 3, 1000]))
@examples(250)
def test_a_mapping_agrees_with_the_loops_whatever_the_block(question, block_rows):
    test, grid, functions, options = question
    blocks = list(assign.assign(test, grid, functions, options, Sizes(block_rows)))
    found = [as_item(row) for items in blocks for row in items]
    assert are_same_items(found, naive.assign(test, grid, functions, options))
    again = np.concatenate(list(assign.assign(test, grid, functions, options)))
    assert np.concatenate(blocks).tobytes() == again.tobytes()


@given(draw_mappings(), st.randoms(use_true_random=False))
@examples(60)
def test_the_rows_of_the_grid_may_come_in_any_order(question, random):
    test, grid, functions, options = question
    order = np.array(random.sample(range(len(grid)), len(grid)))
    shuffled = Functions(
        np.ascontiguousarray(functions.curves[:, order]),
        functions.scale,
        functions.offset,
        functions.limit,
    )
    one = np.concatenate(list(assign.assign(test, grid, functions, options)))
    other = np.concatenate(list(assign.assign(test, grid[order], shuffled, options)))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_mapping_shaped_like_the_seed_agrees_with_the_loops(policy):
    training, library = factories.a_seed_like_problem(2)
    matches = fit_blocks(training, np.arange(4), library.x, in_blocks(library), FitOptions())
    functions = Functions(
        np.ascontiguousarray(library.y[[m.ideal_index for m in matches]]),
        numbers([m.scale for m in matches]),
        numbers([m.offset for m in matches]),
        limits.admission_limits(numbers([m.max_deviation for m in matches]), math.sqrt(2)),
    )
    random = np.random.default_rng(3)
    x = random.choice(library.x, 100)
    test = a_table(x, np.sin(x) * random.choice([1, 3, 20], 100))
    options = MapOptions(policy=policy)
    found = [
        as_item(row)
        for items in assign.assign(test, library.x, functions, options, Sizes(7))
        for row in items
    ]
    assert are_same_items(found, naive.assign(test, library.x, functions, options))
    assert {item.reason for item in found} == {None, "deviation"}
