"""The step `normalize`: each curve brought to one size by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, assert_never

import numpy as np

from services.choices import Normalization
from services.grids import IndexArray
from services.powers import factor_out
from services.preparing.planned import Planned, apply_to_numbers, measure_span, sum_rows
from services.tables import FloatArray


@dataclass(frozen=True, slots=True)
class Normalize:
    """Each curve divided by its size.

    Parameters
    ----------
    method : str
        ``snv``, ``unit``, ``minmax``, ``max`` or ``area``.
    """

    name: ClassVar[str] = "normalize"

    method: Normalization

    def check(self) -> None:
        """Do nothing: there is no parameter, or only a word."""

    def plan(self, x: FloatArray) -> Planned:
        """Plan the step.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Ascending. [unit of x]
        """
        measure_span(x)

        def normalize(y: FloatArray, columns: IndexArray) -> FloatArray:
            y, _ = factor_out(y)
            above, size = _measure(y, x, columns, self.method)
            result = above / size[:, np.newaxis]
            result[~((size > 0) & (size < np.inf))] = np.inf
            return result

        return Planned(x, lambda y: apply_to_numbers(y, 1, normalize), np.arange(x.size))


def _measure(
    y: FloatArray, x: FloatArray, columns: IndexArray, method: Normalization
) -> tuple[FloatArray, FloatArray]:
    """Compute the two sides of the division; the size of a curve that fails is 0 or infinite."""
    n = y.shape[1]
    match method:
        case "snv":
            d = y - (sum_rows(y) / n)[:, np.newaxis]
            size = np.sqrt(sum_rows(d * d) / (n - 1))
            # The rounded mean of a constant may differ from it.
            return d, np.where(y.max(axis=1) == y.min(axis=1), 0.0, size)
        case "unit":
            return y, np.sqrt(sum_rows(y * y))
        case "minmax":
            least = y.min(axis=1)
            return y - least[:, np.newaxis], y.max(axis=1) - least
        case "max":
            return y, np.abs(y).max(axis=1)
        case "area":
            beside = np.flatnonzero(np.diff(columns) == 1)
            size = np.abs(y)
            before, after = np.take(size, beside, axis=1), np.take(size, beside + 1, axis=1)
            width = x[columns[beside + 1]] - x[columns[beside]]
            return y, sum_rows(0.5 * (before + after) * width)
        case _:
            assert_never(method)
