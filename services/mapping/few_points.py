"""The mapping of a few points, without arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

import numpy as np

from services import grids
from services.choices import Policy
from services.grids import SortedGrid
from services.mapping.assign import interpolate
from services.mapping.functions import Functions, apply_transforms, find_rows
from services.mapping.items import DEVIATION, MAPPED, MISSING, NOT_COVERED, Row
from services.mapping.options import MapOptions


def assign_few_points(
    x: Sequence[float],
    y: Sequence[float],
    grid: SortedGrid,
    functions: Functions,
    options: MapOptions,
) -> list[Row]:
    """Map a few points one by one in plain Python.

    The answer is that of `assign`, whose sixty NumPy calls take 160 µs before they work, more
    than the rest of a request of ten points. Python's floats are the same float64.

    Parameters
    ----------
    x, y : sequence of p floats
        The points, NaN if missing. [unit of x, unit of y]
    grid : SortedGrid
        The library's x column.
    functions : Functions
        The chosen functions, with a table for the alignment.
    options : MapOptions
        The options of the mapping.

    Returns
    -------
    list of Row
        The items of `assign` as `tolist` gives them.
    """
    table, limit = functions.tables[options.alignment], functions.limit.tolist()
    place = _guess_rows(x, grid, options)
    if place is None:
        alignment = grids.align(np.array(x), grid, options.alignment, options.x_tolerance)
        place = find_rows(alignment, grid.x.size).tolist()
    g = table.f.take(place, axis=0)
    if table.change is not None:
        interpolate(g, table.change.take(place, axis=0), alignment.rise, alignment.run)
        apply_transforms(g, functions)
    rows: list[Row] = []
    for point, (a, b, values) in enumerate(zip(x, y, g.tolist(), strict=True)):
        # NaN is a gap, a missing y or an overflow, and admits nothing.
        found = [
            (deviation, function)
            for function, value in enumerate(values)
            if (deviation := abs(b - value)) <= limit[function]
        ]
        if not found:
            missing = math.isnan(a) or math.isnan(b)
            uncovered = DEVIATION if table.covers.item(place[point]) else NOT_COVERED
            reason = MISSING if missing else uncovered
            rows.append((point, 0, -1, reason, a, b, math.nan))
        else:
            rows += [
                (point, 0, f, MAPPED, a, b, deviation)
                for deviation, f in _apply_policy(options.policy, found)
            ]
    return rows


def _apply_policy(policy: Policy, found: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Keep the functions, in order and with their deviations, that the policy picks."""
    match policy:
        case "all":
            return found
        case "nearest":
            return [min(found)]
        case "first":
            return found[:1]
        case _:
            assert_never(policy)


def _guess_rows(x: Sequence[float], grid: SortedGrid, options: MapOptions) -> list[int] | None:
    """Guess the row of each x as `grids.align` does; None if any guess is not verified."""
    tolerance = options.x_tolerance
    if tolerance is None or not grid.slots_per_x or 4 * tolerance > grid.step:
        return None
    value_at, row_at, last, slots_per_x = (
        grid.x.item,
        grid.rows.item,
        grid.x.size - 1,
        grid.slots_per_x,
    )
    first, rows = value_at(0), []
    for a in x:
        slot = round(min(last, max(0.0, (a - first) * slots_per_x)))  # NaN is 0, and not near.
        if not abs(a - value_at(slot)) <= tolerance:
            return None
        rows.append(row_at(slot))
    return rows
