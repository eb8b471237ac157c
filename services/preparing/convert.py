"""The step `convert`: other units of x in vacuum, and other quantities of y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from services.choices import XUnit, YUnit
from services.preparing.logarithms import compute_log10, compute_power_of_10
from services.preparing.planned import Planned, refuse_grid, refuse_parameter
from services.tables import FloatArray

_Way = tuple[Literal["times", "over", "under"], float]
"""x times a constant, x over a constant, or the constant over x."""

_X_WAYS: dict[tuple[XUnit, XUnit], _Way] = {
    ("um", "nm"): ("times", 1000.0),
    ("nm", "cm-1"): ("under", 1e7),
    ("um", "cm-1"): ("under", 1e4),
    ("nm", "Hz"): ("under", 2.99792458e17),
    ("um", "Hz"): ("under", 2.99792458e14),
    ("cm-1", "Hz"): ("times", 29979245800.0),
    ("nm", "eV"): ("under", 1239.8419843320025),
    ("um", "eV"): ("under", 1.2398419843320025),
    ("cm-1", "eV"): ("over", 8065.543937349212),
    ("Hz", "eV"): ("over", 241798924208491.8),
}
"""Each pair of units once; the other direction has the inverse with the same constant."""

_INVERSE: dict[Literal["times", "over", "under"], Literal["times", "over", "under"]] = {
    "times": "over",
    "over": "times",
    "under": "under",
}


@dataclass(frozen=True, slots=True)
class Convert:
    """Other units of x, another quantity of y, or both.

    Parameters
    ----------
    x : tuple of two str, or None
        Units from and to: nm, um, cm-1, eV or Hz.
    y : tuple of two str, or None
        Quantities from and to: transmittance, percent_transmittance or absorbance.
    """

    name: ClassVar[str] = "convert"

    x: tuple[XUnit, XUnit] | None = None
    y: tuple[YUnit, YUnit] | None = None

    def check(self) -> None:
        """Raise InvalidOption if neither x nor y is given."""
        if self.x is None and self.y is None:
            raise refuse_parameter("x", "Give `x`, `y` or both, each with `from` and `to`.")

    def plan(self, x: FloatArray) -> Planned:
        """Plan the step.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Ascending. [unit of x]

        Raises
        ------
        GridError
            An x is not above 0, or float64 cannot tell the new x apart.
        """
        rows = np.arange(x.size)
        if self.x is not None:
            if not x[0] > 0:
                detail = (
                    f"Use `regions` to leave out x that are not above 0, such as {float(x[0])!r}."
                )
                raise refuse_grid(detail, "x_not_positive")
            x = _convert_x(x, *self.x)
            if x[-1] < x[0]:
                x, rows = x[::-1].copy(), rows[::-1].copy()
            if not (np.isfinite(x).all() and (x[1:] > x[:-1]).all()):
                detail = (
                    "Leave out x beyond the range of float64: converted, they are equal or none."
                )
                raise refuse_grid(detail, "x_overflow")

        def convert(y: FloatArray) -> FloatArray:
            return np.take(y if self.y is None else _convert_y(y, *self.y), rows, axis=1)

        return Planned(x, convert, rows)


def _convert_x(x: FloatArray, before: XUnit, after: XUnit) -> FloatArray:
    if before == after:
        return x
    if (before, after) in _X_WAYS:
        way, constant = _X_WAYS[before, after]
    else:
        way, constant = _X_WAYS[after, before]
        way = _INVERSE[way]
    with np.errstate(all="ignore"):
        if way == "times":
            return x * constant
        return x / constant if way == "over" else constant / x


def _convert_y(y: FloatArray, before: YUnit, after: YUnit) -> FloatArray:
    if before == after:
        return y
    if before == "absorbance":
        result = np.full_like(y, np.nan)
        numbers = ~np.isnan(y)
        result[numbers] = compute_power_of_10(-y[numbers])
        return result * 100 if after == "percent_transmittance" else result
    share = y / 100 if before == "percent_transmittance" else y
    if after != "absorbance":
        return share if after == "transmittance" else y * 100
    result = np.full_like(y, np.nan)
    positive = share > 0
    result[positive] = 0 - compute_log10(share[positive])
    return result
