"""Parts with different x become one table, as a slow and obvious reading says."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import CurveError, GridError, InvalidOption, InvalidTable, TooLarge
from services.files import Joiner, JoinOptions, Part, ReadLimits, read_grid
from services.tables import Labels, Table

GAP = math.nan

CELLS = st.sampled_from([GAP, -0.0, 0.0, 1.0, -2.5, 5e-324, 1e300])
XS = st.lists(st.integers(-4, 6), min_size=1, max_size=6, unique=True)


def a_part(x, *curves, labels=None):
    names = tuple(f"c{i}" for i in range(len(curves)))
    table = Table(np.array(x, float), np.array(curves, float), names)
    return Part(table, labels or Labels())


def join(parts, limits=None, dataset=None, **options):
    """Join parts that are called 0, 1, ...; x, and the curves by name."""
    options = {"grid": "same"} | options
    if options["grid"] not in ("same", "union", "common"):
        options["grid"] = read_grid(options["grid"])
    joiner = Joiner(JoinOptions(**options), limits or ReadLimits(), dataset)
    try:
        for i, part in enumerate(parts):
            prepared, _ = joiner.prepare(part)
            names = [f"{i} {name}" for name in part.curves.names]
            joiner.add(prepared, names, f"{i}.csv")
        joined = joiner.finish().curves
    except BaseException:
        joiner.close()
        raise
    y = np.concatenate(list(joined.read_parts(1)))
    joined.close()
    return joined.x, dict(zip(joined.names, y, strict=True))


def naive_linear(x, part_x, y):
    """Read a curve at x as docs/method.md defines it."""
    order = sorted(range(len(part_x)), key=lambda i: part_x[i])
    for i in order:
        if part_x[i] == x:
            return y[i]
    for a, b in itertools.pairwise(order):
        if part_x[a] < x < part_x[b]:
            return y[a] + (y[b] - y[a]) * (x - part_x[a]) / (part_x[b] - part_x[a])
    return GAP


@st.composite
def parts_of(draw):
    made = []
    for _ in range(draw(st.integers(1, 4))):
        x = draw(XS)
        row = st.lists(CELLS, min_size=len(x), max_size=len(x))
        made.append(a_part(x, *draw(st.lists(row, min_size=1, max_size=3))))
    return made


@given(parts_of())
def test_union_has_each_number_at_its_x_and_gaps_elsewhere(parts):
    x, curves = join(parts, grid="union")
    assert x.tolist() == sorted({v for part in parts for v in part.curves.x.tolist()})
    for i, part in enumerate(parts):
        for name, y in zip(part.curves.names, part.curves.y, strict=True):
            by_x = dict(zip(part.curves.x.tolist(), y, strict=True))
            expected = np.array([by_x.get(v, GAP) for v in x])
            assert curves[f"{i} {name}"].tobytes() == expected.tobytes()


@given(parts_of())
def test_common_has_the_x_that_all_have(parts):
    shared = set.intersection(*(set(part.curves.x.tolist()) for part in parts))
    if not shared:
        with pytest.raises(GridError, match="Leave out"):
            join(parts, grid="common")
        return
    x, curves = join(parts, grid="common")
    assert x.tolist() == sorted(shared)
    for i, part in enumerate(parts):
        for name, y in zip(part.curves.names, part.curves.y, strict=True):
            by_x = dict(zip(part.curves.x.tolist(), y, strict=True))
            assert curves[f"{i} {name}"].tobytes() == np.array([by_x[v] for v in x]).tobytes()


@given(parts_of(), st.sampled_from(["-3:5:0.5", "5:-3:-1", "0:1:0.3", "2:2:1"]))
def test_steps_are_read_by_linear_interpolation(parts, grid):
    x, curves = join(parts, grid=grid)
    for i, part in enumerate(parts):
        for name, y in zip(part.curves.names, part.curves.y, strict=True):
            expected = np.array([naive_linear(v, part.curves.x, y) for v in x])
            # Both have one NaN only: every bit counts.
            assert (
                curves[f"{i} {name}"].tobytes()
                == np.where(np.isnan(expected), GAP, expected).tobytes()
            )


def test_the_stop_is_included_within_1e9_steps():
    assert read_grid("0:1:0.1").size == 11  # 1 / 0.1 is 10, 3 * 0.1 is not 0.3
    assert read_grid("0:0.9999999999:0.1").size == 11
    assert read_grid("0:0.99:0.1").size == 10
    assert read_grid("400:1800:2").tolist() == [400.0 + 2 * i for i in range(701)]


@pytest.mark.parametrize(
    "text",
    ["", "all", "1:2", "1:2:3:4", "1:2:0", "2:1:1", "0:1:nan", "0:inf:1", "1_0:20:1", "1e999:2:1",
     "1e300:2e300:1e270", "a:b:c"],
)  # fmt: skip
def test_other_grids_are_refused(text):
    with pytest.raises(CurveError) as error:
        read_grid(text)
    assert error.value.facts[0].parameter == "grid"


def test_too_many_steps_are_refused_before_they_are_made():
    with pytest.raises(TooLarge):
        read_grid("0:1:1e-300")


def test_same_names_the_file_and_the_row_that_differ():
    first, other = a_part([1, 2, 3], [1, 2, 3]), a_part([1, 2.5, 3], [1, 2, 3])
    with pytest.raises(GridError, match=r"Say grid=.*'1\.csv' has .* '0\.csv', row 1 has 2\.5"):
        join([first, other])
    with pytest.raises(GridError, match="2 rows, not 3"):
        join([first, a_part([1, 2], [1, 2])])
    with pytest.raises(GridError, match="than the dataset, row 0"):
        join([first], None, ("x", np.array([0.0, 2, 3])))


@pytest.mark.parametrize("grid", ["union", "common", "1:3:1"])
def test_rows_without_x_are_left_out_with_a_warning(grid):
    odd = a_part([GAP, 1, GAP, 3, 2], [9, 1, 9, 3, 2], [8, 4, 8, 6, 5])
    x, curves = join([odd, a_part([1, 2, 3], [7, 8, 9])], grid=grid)
    assert x.tolist() == [1, 2, 3]
    assert {name: y.tolist() for name, y in curves.items()} == {
        "0 c0": [1, 2, 3],
        "0 c1": [4, 5, 6],
        "1 c0": [7, 8, 9],
    }
    joiner = Joiner(JoinOptions(read_grid(grid)))
    _, (warning,) = joiner.prepare(odd)
    joiner.close()
    assert warning.code == "missing_x"
    assert warning.detail.startswith("2 of 5 rows have no x")
    with pytest.raises(GridError, match="Row 0 has no x"):
        join([a_part([GAP, GAP], [1, 2])], grid=grid)


def test_same_keeps_the_order_of_rows_and_missing_x():
    x, curves = join([a_part([3, GAP, 1], [1, 2, 3]), a_part([3, GAP, 1], [4, 5, 6])])
    assert x.tobytes() == np.array([3, GAP, 1]).tobytes()
    assert curves["1 c0"].tolist() == [4, 5, 6]


def test_a_tolerance_joins_x_that_are_nearly_equal():
    parts = [a_part([1, 2, 3], [1, 2, 3]), a_part([1.01, 2.01, 4], [4, 5, 6])]
    x, curves = join(parts, grid="union", x_tolerance=0.1)
    assert x.tolist() == [1, 2, 3, 4]
    assert curves["1 c0"].tolist()[:2] == [4, 5]
    assert join(parts, grid="common", x_tolerance=0.1)[0].tolist() == [1, 2]
    assert join([parts[0], a_part([1.01, 2, 3], [0, 0, 0])], x_tolerance=0.1)[0][0] == 1


def test_groups_within_a_tolerance_begin_at_their_smallest_x():
    parts = [a_part([x], [1]) for x in (0.0, 0.9, 1.8, 2.7)]
    assert join(parts, grid="union", x_tolerance=1.0)[0].tolist() == [0.0, 1.8]


def test_a_tolerance_that_takes_two_x_of_a_file_for_one_is_refused():
    with pytest.raises(GridError, match="less than half"):
        join([a_part([1, 2], [1, 2])], grid="union", x_tolerance=0.5)


def test_options_that_contradict_are_refused():
    for options in (
        {"alignment": "exact"},
        {"grid": "0:1:1", "x_tolerance": 0.1},
        {"x_tolerance": -1.0},
    ):
        with pytest.raises(InvalidOption):
            join([a_part([1], [1])], **options)


def test_repeated_x_has_no_place_on_a_grid():
    with pytest.raises(GridError, match="both have x"):
        join([a_part([1, 1], [1, 2])], grid="union")


def test_a_curve_beside_the_grid_is_told():
    joiner = Joiner(JoinOptions(read_grid("5:6:1")))
    joiner.add(a_part([1, 2], [1, 2]), ["a"], "a.csv")
    joiner.close()
    assert joiner.warnings[0].code == "outside_grid"


def test_numbers_too_large_to_interpolate_are_refused():
    with pytest.raises(InvalidTable, match="too large"):
        join([a_part([0, 2], [-1.7e308, 1.7e308])], grid="0:2:1")


def test_one_name_for_two_curves_names_both_files():
    joiner = Joiner()
    for origin in ("a/1.csv", "a/1.txt"):
        joiner.add(a_part([1], [1]), ["1"], origin)
    with pytest.raises(InvalidTable, match=r"'a/1\.csv' and 'a/1\.txt' both give a curve '1'"):
        joiner.finish()
    joiner.close()


def test_units_of_x_that_differ_are_refused_unless_the_client_gives_one():
    spellings = ("cm-1", "1/CM", "nm")
    parts = [a_part([1], [1], labels=Labels(x_unit=unit)) for unit in spellings]
    join(parts[:2])
    with pytest.raises(GridError, match=r"'nm' in '2\.csv', but in 'cm-1' in '0\.csv'"):
        join(parts)
    join(parts, x_unit="nm")


def test_limits_hold_for_the_joined_table():
    parts = [a_part([i, i + 1], [1, 2]) for i in range(0, 40, 2)]
    for limits in (ReadLimits(max_bytes=1000), ReadLimits(max_rows=30), ReadLimits(max_curves=9)):
        with pytest.raises(TooLarge):
            join(parts, limits, grid="union")
