"""Steps applied in order: first to a grid, then to any number of blocks of curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.errors import CurveError, Fact, InvalidOption, error_from
from services.fingerprint import canonicalize
from services.grids import IndexArray, check_grid, sort_grid
from services.preparing.planned import TILE_BYTES, Planned
from services.preparing.steps import Step
from services.tables import FloatArray

MOST_STEPS = 10
"""Most steps of one `prepare`."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """Steps that are checked and planned for one grid, ready for curves on it.

    Parameters
    ----------
    x : ndarray of shape (n',)
        The x column after all steps, in the order of the rows. [unit of x]
    ascending, order : ndarray of shape (n,) and (n',)
        The rows before the steps by ascending x, and the positions after them by row.
    planned : tuple of Planned
        The steps.
    """

    x: FloatArray
    ascending: IndexArray
    order: IndexArray
    planned: tuple[Planned, ...]


def check_steps(steps: Sequence[Step]) -> None:
    """Check the parameters of steps; no grid is needed.

    Parameters
    ----------
    steps : sequence of Step

    Raises
    ------
    CurveError
        There are too many steps, or a parameter is wrong.
    """
    if len(steps) > MOST_STEPS:
        detail = f"Give at most {MOST_STEPS} steps."
        raise error_from(InvalidOption, Fact(detail, "too_many_steps", pointer="/prepare"))
    for position, step in enumerate(steps):
        try:
            step.check()
        except CurveError as error:
            raise _locate(error, position, step) from None


def plan_preparation(x: FloatArray, steps: Sequence[Step]) -> Preparation:
    """Check steps and plan them for a grid.

    Parameters
    ----------
    x : ndarray of shape (n,)
        The x column, rows in any order. [unit of x]
    steps : sequence of Step
        Applied in order.

    Raises
    ------
    CurveError
        A parameter is wrong, x is no grid, or a step cannot treat the grid that it gets.
    """
    check_steps(steps)
    check_grid(x, "prepared")
    grid = sort_grid(x)
    ascending, x, rows = grid.rows, grid.x, grid.rows
    planned = []
    for position, step in enumerate(steps):
        try:
            one = step.plan(x)
        except CurveError as error:
            raise _locate(error, position, step) from None
        planned.append(one)
        x = one.x
        rows = np.arange(x.size) if one.source is None else rows[one.source]
    order = np.argsort(rows)
    return Preparation(x[order], ascending, order, tuple(planned))


def prepare_block(y: FloatArray, preparation: Preparation) -> tuple[FloatArray, IndexArray]:
    """Apply all steps to some curves; each by itself, so the size of the block changes no bit.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Curves in the order of the rows; NaN is a gap. [unit of y]
    preparation : Preparation
        Steps planned for their grid.

    Returns
    -------
    y : ndarray of shape (m, n')
        C-contiguous, as from `canonicalize`; a curve that failed has only gaps.
    failed_at : ndarray of shape (m,)
        Position of the step at which each curve failed; -1 for the others.
    """
    result = np.empty((len(y), preparation.x.size))
    failed_at = np.full(len(y), -1, np.intp)
    widest = max(y.shape[1], *(one.x.size for one in preparation.planned), 1)
    # All steps treat one tile before the next, so that no step holds more than a tile.
    tile_bytes = max((one.tile_bytes for one in preparation.planned), default=TILE_BYTES)
    many = max(1, tile_bytes // (8 * widest))
    with np.errstate(all="ignore"):
        for start in range(0, len(y), many):
            tile = slice(start, start + many)
            result[tile] = _prepare_tile(y[tile], preparation, failed_at[tile])
    return canonicalize(result), failed_at


def _prepare_tile(y: FloatArray, preparation: Preparation, failed_at: IndexArray) -> FloatArray:
    """Apply all steps; note in `failed_at` where curves fail."""
    y = np.take(y, preparation.ascending, axis=1)
    for position, step in enumerate(preparation.planned):
        y = step.apply(y)
        failing = np.isinf(y).any(axis=1)
        if failing.any():
            y[failing] = np.nan
            failed_at[failing & (failed_at < 0)] = position
    return np.take(y, preparation.order, axis=1)


def _locate(error: CurveError, position: int, step: Step) -> CurveError:
    """Say in an error which step it is about; facts of a step have pointers within it."""
    before = f"/prepare/{position}"
    facts = [replace(fact, pointer=before + (fact.pointer or "")) for fact in error.facts]
    return type(error)(f"Step {position + 1}, {step.name}: {error.detail}", facts)
