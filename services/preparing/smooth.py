"""The step `smooth`: a Savitzky-Golay filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from services.grids import IndexArray
from services.powers import factor_out, put_back
from services.preparing.planned import Planned, apply_to_numbers, measure_even_step
from services.preparing.savitzky_golay import check_window, compute_weights, sum_windows
from services.tables import FloatArray


@dataclass(frozen=True, slots=True)
class Smooth:
    """The value at each point of a polynomial through the window around it.

    Parameters
    ----------
    window : int
        Points of the window, odd.
    degree : int
        Degree of the polynomial, less than the window.
    """

    name: ClassVar[str] = "smooth"

    window: int
    degree: int

    def check(self) -> None:
        """Raise InvalidOption for a parameter out of its range."""
        check_window(self.window, self.degree, 0)

    def plan(self, x: FloatArray) -> Planned:
        """Plan the step.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Ascending. [unit of x]

        Raises
        ------
        GridError
            The grid is not even.
        """
        measure_even_step(x)
        weights = compute_weights(self.window, self.degree, 0)

        def smooth(y: FloatArray, columns: IndexArray) -> FloatArray:
            y, shift = factor_out(y)
            middle, total = sum_windows(y, columns, weights)
            return put_back(middle + total, shift)

        return Planned(x, lambda y: apply_to_numbers(y, 0, smooth), np.arange(x.size))
