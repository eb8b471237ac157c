"""Counts and deviations of the functions of a mapping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.mapping.items import MAPPED, REASONS, Items, Row
from services.tables import FloatArray


@dataclass(slots=True)
class Tally:
    """Counts and deviations of a mapping, added up block by block.

    Sums are exact integers, so blocks may be cut and ordered in any way.

    Parameters
    ----------
    n_functions : int
        Number of functions.
    """

    n_functions: int
    reasons: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    counts: list[int] = field(init=False)
    largest: list[float] = field(init=False)
    # In units of 2**-1074, of which every float64 is a multiple.
    _sums: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Start from zero."""
        self.counts = [0] * self.n_functions
        self.largest = [0.0] * self.n_functions
        self._sums = [0] * self.n_functions

    def add(self, items: Items) -> None:
        """Add a block of items from `assign`."""
        reasons = np.bincount(items["reason"], minlength=len(REASONS))
        self.reasons = [a + int(b) for a, b in zip(self.reasons, reasons, strict=True)]
        mapped = np.flatnonzero(items["function"] >= 0)
        function, deviation = items["function"][mapped], items["deviation"][mapped]
        counts = np.bincount(function, minlength=self.n_functions)
        self.counts = [a + int(b) for a, b in zip(self.counts, counts, strict=True)]
        largest = np.array(self.largest)
        np.maximum.at(largest, function, deviation)
        self.largest = largest.tolist()
        finite = np.isfinite(deviation)
        if not finite.all():
            function, deviation = function[finite], deviation[finite]
        self._add_exactly(function, deviation)

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Add items from `assign_few_points`, one by one."""
        for _, _, function, reason, _, _, deviation in rows:
            self.reasons[reason] += 1
            if reason == MAPPED:
                self.counts[function] += 1
                self.largest[function] = max(self.largest[function], deviation)
                if deviation < math.inf:
                    numerator, denominator = deviation.as_integer_ratio()
                    self._sums[function] += numerator << (1075 - denominator.bit_length())

    def _add_exactly(self, function: NDArray[np.int32], rest: FloatArray) -> None:
        """Add finite values, none negative, to the sums without rounding.

        Each round takes the leading digits of all values as integers below 2**26, of which
        float64 adds 2**27 exactly. Three rounds leave nothing of ordinary values.
        """
        while rest.size and (largest := float(rest.max())):
            unit = max(math.frexp(largest)[1] - 26, -1074)
            digits = np.floor(np.ldexp(rest, -unit))
            rest = rest - np.ldexp(digits, unit)
            sums = np.bincount(function, digits)
            for position in np.flatnonzero(sums):
                self._sums[position] += int(sums[position]) << (unit + 1074)

    @property
    def unmapped_reasons(self) -> dict[str, int]:
        """Number of unmapped points by reason."""
        return {name: count for name, count in zip(REASONS, self.reasons, strict=True) if name}

    @property
    def n_assignments(self) -> int:
        """Number of assignments."""
        return self.reasons[MAPPED]

    def deviation_max(self, function: int) -> float | None:
        """Find the largest admitted deviation of a function.

        Returns
        -------
        float or None
            None without assignments, or if float64 cannot hold it. [unit of y]
        """
        largest = self.largest[function]
        return largest if self.counts[function] and math.isfinite(largest) else None

    def deviation_mean(self, function: int) -> float | None:
        """Compute the mean admitted deviation of a function, the exact mean rounded once.

        Returns
        -------
        float or None
            None without assignments, or if float64 cannot hold it. [unit of y]
        """
        if self.deviation_max(function) is None:
            return None
        return self._sums[function] / (self.counts[function] << 1074)
