"""Factories for tests: tables from a few numbers, and random ones for Hypothesis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from services.fitting.blocks import Block, Library
from services.fitting.fit import finish, rank_library
from services.fitting.prepare import prepare
from services.tables import Table


def numbers(values):
    """Float64 of a list in which None is a gap."""
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)


def a_table(x, *curves, names=None):
    """Make a table of curves on x."""
    x = numbers(x)
    names = tuple(names) if names else tuple(f"y{i + 1}" for i in range(len(curves)))
    y = np.array([numbers(curve) for curve in curves], dtype=np.float64).reshape(-1, len(x))
    return Table(x, y, names)


def load_table(curves):
    """Load curves into memory."""
    y = np.concatenate(list(curves.read_parts(1 << 23)))
    return Table(curves.x, y, curves.names, curves.x_name)


def a_training(*curves, x=None, names=None):
    """Training curves, on x = 0, 1, 2, ... unless told otherwise."""
    return a_table(range(len(curves[0])) if x is None else x, *curves, names=names)


def a_library(*curves, x=None, names=None):
    """Library curves, on x = 0, 1, 2, ... unless told otherwise."""
    names = names or [f"f{i + 1}" for i in range(len(curves))]
    return a_training(*curves, x=x, names=names)


def some_points(*points):
    """Test points (x, y) with one y column."""
    return a_table([x for x, _ in points], [y for _, y in points])


def fit_library(training, indices, library, options, cache=None):
    """Fit training curves to a library."""
    prepared = prepare(training, indices, library.grid, options)
    return finish(prepared, rank_library(prepared, library, cache))


def fit_blocks(training, indices, grid, blocks, options):
    """Fit training curves to a library that comes in blocks."""
    return fit_library(training, indices, Library(grid, blocks), options)


def in_blocks(library, cuts=(), indices=None):
    """Cut the library before the given positions; whole without any."""
    indices = np.arange(len(library.y)) if indices is None else np.asarray(indices)
    edges = [0, *sorted(set(cuts) - {0, len(library.y)}), len(library.y)]
    return [
        Block(indices[i:j].astype(np.intp), np.ascontiguousarray(library.y[i:j]))
        for i, j in pairwise(edges)
    ]


def rows_in_order(table, order):
    """Put the rows of a table in another order."""
    order = np.asarray(order, dtype=np.intp)
    return Table(
        np.ascontiguousarray(table.x[order]),
        np.ascontiguousarray(table.y[:, order]),
        table.names,
        table.x_name,
    )


def a_seed_like_problem(seed=0):
    """Four noisy training curves and fifty smooth ones on 400 common x, rows shuffled."""
    random = np.random.default_rng(seed)
    x = np.round(np.arange(-20.0, 20.0, 0.1), 1)
    library = np.array(
        [np.sin(x * (1 + j % 7) / 5) * (1 + j // 7) + (j % 3) * x / 10 for j in range(50)]
    )
    training = library[[7, 23, 41, 42]] + random.uniform(-0.5, 0.5, (4, x.size))
    return (
        rows_in_order(a_training(*training, x=x), random.permutation(x.size)),
        rows_in_order(a_library(*library, x=x), random.permutation(x.size)),
    )


# --------------------------------------------------------------------------- hypothesis

SMALL = st.integers(-2, 2).map(float)
"""Few different values, so that scores tie."""

ORDINARY = st.floats(-10, 10)

LIFTED = st.integers(-3, 3).map(lambda k: 1e8 + k * 0.001)
"""Values near 1e8 that differ by 0.001: the expanded square of a difference loses them."""

HUGE = st.one_of(
    st.floats(1e150, 1e160),
    st.floats(-1e160, -1e150),
    st.floats(1e300, 1.7e308),
    st.floats(-1.7e308, -1e300),
    st.just(0.0),
)

TINY = st.one_of(st.floats(-1e-150, 1e-150), st.integers(-5, 5).map(lambda k: k * 5e-324))

ANY = st.floats(allow_nan=False, allow_infinity=False)

TAME = (SMALL, ORDINARY, LIFTED)
"""Kinds whose squares float64 holds."""

KINDS = (*TAME, HUGE, TINY, ANY)


def _ulps_apart(start, count):
    grid = [start]
    for _ in range(count - 1):
        grid.append(math.nextafter(grid[-1], math.inf))
    return grid


@st.composite
def grids(draw, max_size=7):
    """Distinct x in any order: integers, ulps apart, ordinary, tiny or huge numbers."""
    size = draw(st.integers(1, max_size))
    values = draw(
        st.one_of(
            st.just([float(i) for i in range(size)]),
            st.sampled_from([0.1, 1.0, -2.0, 1e8, 5e-324, -1e-323]).map(
                lambda start: _ulps_apart(start, size)
            ),
            *(
                st.lists(kind, min_size=1, max_size=size, unique_by=lambda v: v + 0.0)
                for kind in (ORDINARY, ANY, TINY)
            ),
        )
    )
    return draw(
        st.one_of(
            st.just(sorted(values)), st.just(sorted(values, reverse=True)), st.permutations(values)
        )
    )


@st.composite
def x_for(draw, grid, *, unique=True, max_size=7):
    """Draw x to look for on a grid: its own values, close to them, midway, between, outside."""
    ordered = sorted(grid)
    gap = min((b - a for a, b in pairwise(ordered)), default=1.0)
    candidates = list(grid)
    for value in grid:
        candidates += [math.nextafter(value, math.inf), math.nextafter(value, -math.inf)]
        candidates += [value + f * gap for f in (1e-6, -1e-6, 1e-7, 2e-6, 0.5, 0.25, -0.3)]
        candidates.append(-value if value == 0 else value)
    candidates += [ordered[0] - 1, ordered[-1] + 1]
    candidates = [v for v in candidates if math.isfinite(v)]
    pick = st.sampled_from(candidates)
    keyed = (lambda v: v + 0.0) if unique else None
    return draw(st.lists(pick, min_size=1, max_size=max_size, unique_by=keyed))


@st.composite
def a_curve(draw, size, kind, *, gaps):
    """One row of values of a kind, sometimes constant, sometimes with gaps."""
    if draw(st.integers(0, 5)) == 0:
        values = [draw(kind)] * size
    else:
        values = draw(st.lists(kind, min_size=size, max_size=size))
    if gaps and size > 0 and draw(st.booleans()):
        holes = draw(st.lists(st.integers(0, size - 1), max_size=size // 2 + 1))
        values = [None if i in holes else v for i, v in enumerate(values)]
    return values


TOLERANCES = st.sampled_from([None, 0.0, 1e-9, 1e-6, 0.25, 0.5, 1.0, 5e-324, 1e300])


@dataclass(frozen=True)
class Problem:
    """Training curves, a library, and the alignment they are compared with."""

    training: Table
    library: Table
    alignment: str
    x_tolerance: float | None


@st.composite
def problems(draw, kinds=KINDS, max_curves=6, *, gaps=True, same_x=None):
    """Training curves and a library on related grids, of one kind of values or two."""
    library_x = draw(grids())
    if draw(st.booleans()) if same_x is None else same_x:
        training_x = draw(st.permutations(library_x))
    else:
        training_x = draw(x_for(library_x))
    kind = draw(st.sampled_from(kinds))
    n, p = len(library_x), len(training_x)
    training = [draw(a_curve(p, kind, gaps=gaps)) for _ in range(draw(st.integers(1, 3)))]
    library = [
        draw(
            a_curve(n, draw(st.sampled_from([kind, kind, draw(st.sampled_from(kinds))])), gaps=gaps)
        )
        for _ in range(draw(st.integers(1, max_curves)))
    ]
    if draw(st.booleans()):
        library.append(library[0])
    alignment = draw(st.sampled_from(["exact", "linear"]))
    return Problem(
        a_training(*training, x=training_x),
        a_library(*library, x=library_x),
        alignment,
        draw(TOLERANCES) if alignment == "exact" else None,
    )
