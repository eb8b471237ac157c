"""The step `regions`: only x inside some intervals, or outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from services.preparing.planned import Planned, refuse_grid, refuse_parameter
from services.tables import FloatArray

MOST_REGIONS = 100
"""Most intervals of a step."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Rows with x inside closed intervals, or outside; one of the two is given.

    Parameters
    ----------
    use, exclude : tuple of pairs of float, or None
        The ends of each interval, in any order. [unit of x]
    """

    name: ClassVar[str] = "regions"

    use: tuple[tuple[float, float], ...] | None = None
    exclude: tuple[tuple[float, float], ...] | None = None

    def check(self) -> None:
        """Raise InvalidOption for both keys or none, or intervals that are none or too many."""
        field = "exclude" if self.use is None else "use"
        intervals = self.exclude if self.use is None else self.use
        if intervals is None or (self.use is not None and self.exclude is not None):
            raise refuse_parameter("use", "Give either `use` or `exclude`, a list of [from, to].")
        if not 1 <= len(intervals) <= MOST_REGIONS:
            raise refuse_parameter(field, f"Give 1 to {MOST_REGIONS} intervals in `{field}`.")
        if not np.isfinite(intervals).all():
            raise refuse_parameter(field, f"Give finite numbers as the ends in `{field}`.")

    def plan(self, x: FloatArray) -> Planned:
        """Plan the step.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Ascending. [unit of x]

        Raises
        ------
        GridError
            No row is left.
        """
        inside = np.zeros(x.size, bool)
        for one, other in self.use or self.exclude or ():
            inside |= (min(one, other) <= x) & (x <= max(one, other))
        kept = np.flatnonzero(inside if self.use else ~inside)
        if not kept.size:
            detail = f"Choose other intervals: they leave no row of x from {x[0]!s} to {x[-1]!s}."
            raise refuse_grid(detail, "no_rows_left")
        return Planned(x[kept], lambda y: np.take(y, kept, axis=1), kept)
