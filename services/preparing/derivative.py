"""The step `derivative`: a Savitzky-Golay filter, or differences of neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from services.choices import Per
from services.grids import IndexArray
from services.powers import factor_out, put_back
from services.preparing.planned import (
    Planned,
    apply_to_numbers,
    measure_even_step,
    measure_span,
    refuse_grid,
    refuse_parameter,
)
from services.preparing.savitzky_golay import check_window, compute_weights, sum_windows
from services.tables import FloatArray


@dataclass(frozen=True, slots=True)
class Derivative:
    """The slope of each curve, or the slope of the slope.

    Parameters
    ----------
    order : int
        1 or 2.
    window, degree : int or None
        Those of a Savitzky-Golay filter; neither: differences of neighbours.
    per : str
        ``x``: per unit of x; ``row``: per row, not divided by the step.
    """

    name: ClassVar[str] = "derivative"

    order: int
    window: int | None = None
    degree: int | None = None
    per: Per = "x"

    def check(self) -> None:
        """Raise InvalidOption for a parameter out of its range."""
        if self.order not in {1, 2}:
            raise refuse_parameter("order", "Give the `order` 1 or 2.")
        if (self.window is None) != (self.degree is None):
            missing = "window" if self.window is None else "degree"
            raise refuse_parameter(missing, "Give both `window` and `degree`, or neither.")
        if self.window is not None and self.degree is not None:
            check_window(self.window, self.degree, self.order)

    def plan(self, x: FloatArray) -> Planned:
        """Plan the step.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Ascending. [unit of x]

        Raises
        ------
        GridError
            There are too few rows, or with a window the grid is not even.
        """
        if self.window is not None and self.degree is not None:
            weights = compute_weights(self.window, self.degree, self.order)
            return _plan_filter(self, x, weights)
        if x.size <= self.order:
            detail = f"Use at least {self.order + 1} rows: the derivative needs them."
            raise refuse_grid(detail, "too_few_rows")
        measure_span(x)
        grids = [x]
        for _ in range(self.order):
            before = grids[-1]
            between = 0.5 * before[:-1] + 0.5 * before[1:]
            if not (between[1:] > between[:-1]).all():
                detail = (
                    "Put the step `resample` before this one: midpoints of x are equal in float64."
                )
                raise refuse_grid(detail, "repeated_x")
            grids.append(between)

        def differentiate(y: FloatArray) -> FloatArray:
            for before in grids[:-1]:
                y = _difference(y, before if self.per == "x" else None)
            return y

        return Planned(grids[-1], differentiate, None)


def _difference(y: FloatArray, x: FloatArray | None) -> FloatArray:
    """Take differences of neighbours, divided by the steps of x if it is given."""
    y, shift = factor_out(y)
    between = y[:, 1:] - y[:, :-1]
    if x is not None:
        between /= x[1:] - x[:-1]
    return put_back(between, shift)


def _plan_filter(step: Derivative, x: FloatArray, weights: FloatArray) -> Planned:
    width = measure_even_step(x)
    divisor = 1.0 if step.per == "row" else width if step.order == 1 else width * width
    if not 0 < divisor < np.inf:
        detail = "Scale x: the square of its step is not within the range of float64."
        raise refuse_grid(detail, "x_overflow")

    def differentiate(y: FloatArray, columns: IndexArray) -> FloatArray:
        y, shift = factor_out(y)
        _, total = sum_windows(y, columns, weights)
        return put_back(total / divisor, shift)

    return Planned(x, lambda y: apply_to_numbers(y, 0, differentiate), np.arange(x.size))
