"""The step `resample`: curves read at the x of another grid, linearly between their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from services.grids import align, check_grid, read_curves, sort_grid
from services.preparing.planned import Planned, refuse_grid, refuse_parameter
from services.tables import FloatArray

MOST_ROWS = 20_000_000
"""Most rows of a grid, unless the caller says otherwise."""

_STOP_STEPS = 1e-6
"""How far the last x may be beyond `stop`. [steps]"""


@dataclass(frozen=True, slots=True)
class Resample:
    """Curves on an even grid, or on that of a dataset; `step` or `x` is given.

    Parameters
    ----------
    start, stop : float or None
        Ends; None is the multiple of `step` nearest to the end of the grid, inside. [unit of x]
    step : float or None
        Above 0. [unit of x]
    x : ndarray of shape (n,) or None
        The x column of the dataset. [unit of x]
    most_rows : int
        Most rows of the new grid: a limit of the service, no parameter of clients.
    """

    name: ClassVar[str] = "resample"

    start: float | None = None
    stop: float | None = None
    step: float | None = None
    x: FloatArray | None = None
    most_rows: int = MOST_ROWS

    def check(self) -> None:
        """Raise InvalidOption, or GridError for the x of a dataset that are no grid."""
        if (self.x is None) == (self.step is None):
            raise refuse_parameter("step", "Give either `step` or `dataset_id`.")
        if self.x is not None:
            if self.start is not None or self.stop is not None:
                detail = (
                    "Leave out `start` and `stop`, or give `step` in the place of `dataset_id`."
                )
                raise refuse_parameter("dataset_id", detail)
            check_grid(self.x, "resampled")
            return
        given = [value for value in (self.start, self.stop, self.step) if value is not None]
        if not np.isfinite(given).all() or not given[-1] > 0:
            raise refuse_parameter("step", "Give finite numbers, and a `step` above 0.")
        if self.start is not None and self.stop is not None and self.stop < self.start:
            raise refuse_parameter("stop", "Give a `stop` that is not below `start`.")

    def plan(self, x: FloatArray) -> Planned:
        """Plan the step.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Ascending. [unit of x]

        Raises
        ------
        GridError
            The grid has no row or too many, or float64 cannot tell its x apart.
        """
        wanted = _make_grid(self, x) if self.x is None else sort_grid(self.x).x
        alignment = align(wanted, sort_grid(x), "linear")
        missing = ~alignment.covered

        def apply(y: FloatArray) -> FloatArray:
            values, has_number = read_curves(y, alignment)
            # A value that overflows may be NaN, and must not look like a gap.
            values[has_number & ~np.isfinite(values)] = np.inf
            values[~has_number] = np.nan
            values[:, missing] = np.nan
            return values

        return Planned(wanted, apply, None)


def _make_grid(step: Resample, x: FloatArray) -> FloatArray:
    width = step.step or 0.0
    start, stop = step.start, step.stop
    with np.errstate(all="ignore"):
        if start is None:
            start = float(np.ceil(x[0] / width) * width)
        if stop is None:
            stop = float(np.floor(x[-1] / width) * width)
        steps = float(np.float64(stop - start) / width) + _STOP_STEPS
    if not (math.isfinite(start) and math.isfinite(steps) and steps < step.most_rows):
        detail = f"Give a larger `step`: the grid would have more than {step.most_rows} rows."
        raise refuse_grid(detail, "too_many_rows")
    if steps < 0:
        detail = "Give a smaller `step`, or `start` and `stop`: no multiple of it is within x."
        raise refuse_grid(detail, "no_rows_left")
    with np.errstate(over="ignore"):
        grid: FloatArray = start + np.arange(math.floor(steps) + 1, dtype=np.float64) * width
    if not (np.isfinite(grid).all() and (grid[1:] > grid[:-1]).all()):
        raise refuse_grid("Give a larger `step`: float64 cannot tell its x apart.", "repeated_x")
    return grid
