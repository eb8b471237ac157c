"""The step `baseline` with the method `asls`: a baseline by asymmetric least squares.

Eilers and Boelens, Baseline Correction with Asymmetric Least Squares Smoothing, 2005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from services.powers import factor_out, put_back
from services.preparing.planned import (
    Planned,
    measure_even_step,
    refuse_parameter,
)
from services.tables import FloatArray

LEAST_SMOOTHNESS, MOST_SMOOTHNESS = 1.0, 1e9
"""Range of the smoothness."""

MOST_SOLVES = 50
"""Most baselines of a curve; the last one counts, whether or not the weights repeat."""

_TILE_BYTES = 1 << 22
"""Bytes of curves treated at once: enough to make the calls for each point worth their time."""

_LEAST_NUMBERS = 3
"""Fewest numbers of a curve."""


@dataclass(frozen=True, slots=True)
class Asls:
    """Each curve less a smooth line along its lower side.

    Parameters
    ----------
    smoothness : float
        Weight of the squared second differences of the baseline, 1 to 1e9.
    asymmetry : float
        Weight of the numbers above the baseline; the others weigh 1 - asymmetry. Between 0 and 1.
    """

    name: ClassVar[str] = "baseline"

    smoothness: float = 1e6
    asymmetry: float = 0.01

    def check(self) -> None:
        """Raise InvalidOption for a parameter out of its range."""
        if not LEAST_SMOOTHNESS <= self.smoothness <= MOST_SMOOTHNESS:
            raise refuse_parameter("smoothness", "Give a `smoothness` from 1 to 1e9.")
        if not 0 < self.asymmetry < 1:
            raise refuse_parameter("asymmetry", "Give an `asymmetry` above 0 and below 1.")

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

        def remove(y: FloatArray) -> FloatArray:
            y, shift = factor_out(y)
            numbers = ~np.isnan(y)
            enough = numbers.sum(axis=1) >= _LEAST_NUMBERS
            first = y[np.arange(len(y)), numbers.argmax(axis=1)]
            # One curve a column: the loops over points then use whole rows.
            away = np.where(numbers, y - first[:, np.newaxis], 0.0).T.copy()
            away -= _find_baselines(away, numbers.T.copy(), self)
            rest = np.ascontiguousarray(away.T)
            failing = ~enough | ~np.isfinite(rest).all(axis=1)
            rest[~numbers] = np.nan
            rest[failing] = np.inf
            return put_back(rest, shift)

        return Planned(x, remove, np.arange(x.size), _TILE_BYTES)


def _find_baselines(d: FloatArray, numbers: np.ndarray, step: Asls) -> FloatArray:
    """Find the baseline of each column; a column leaves the loop when its weights repeat."""
    result = np.zeros_like(d)
    left = np.arange(d.shape[1])
    w = numbers.astype(np.float64)
    for _ in range(MOST_SOLVES):
        z = _solve(d, w, step.smoothness)
        result[:, left] = z
        following = np.where(d > z, step.asymmetry, 1 - step.asymmetry) * numbers
        changed = np.flatnonzero((following != w).any(axis=0))
        if not changed.size:
            break
        if changed.size < left.size:
            left, d, numbers = left[changed], d[:, changed], numbers[:, changed]
            following = following[:, changed]
        w = following
    return result


def _solve(d: FloatArray, w: FloatArray, s: float) -> FloatArray:
    """Solve (W + s·D'D)z = w·d for each column, and refine the solution once."""
    factors = _factor(w, s)
    z = _substitute(w * d, *factors)
    g = (z[:-2] - 2 * z[1:-1]) + z[2:]
    # D'g: second differences of g between zeros.
    padded = np.zeros((len(g) + 4, g.shape[1]))
    padded[2:-2] = g
    q = (padded[2:] - 2 * padded[1:-1]) + padded[:-2]
    z += _substitute(w * (d - z) - s * q, *factors)
    return z


def _factor(w: FloatArray, s: float) -> tuple[FloatArray, FloatArray]:
    """Factor W + s·D'D into L·D·L'.

    Returns the bands of L, shape (n, 2, columns): for each row the one two beside its diagonal and
    the one beside it; and D.
    """
    n = len(w)
    diagonal, beside = np.full(n, 6.0), np.full(n - 1, -4.0)
    diagonal[[0, -1]], diagonal[[1, -2]], beside[[0, -1]] = 1.0, 5.0, -2.0
    bands, pivot = np.zeros((n, 2, w.shape[1])), w + s * diagonal[:, np.newaxis]
    # The arrays `t` and `product` are used again and again, and stay in the processor's cache.
    t, product = np.empty_like(w[0]), np.empty_like(w[0])
    for i in range(1, n):
        far, near = bands[i]
        t.fill(s * beside[i - 1])
        if i > 1:
            np.multiply(s, bands[i - 1, 1], out=product)
            t -= product
            np.divide(s, pivot[i - 2], out=far)
            np.multiply(s, far, out=product)
            pivot[i] -= product
        np.divide(t, pivot[i - 1], out=near)
        np.multiply(t, near, out=product)
        pivot[i] -= product
    return bands, pivot


def _substitute(b: FloatArray, bands: FloatArray, pivot: FloatArray) -> FloatArray:
    """Solve L·D·L'z = b for each column; b is used up."""
    n = len(b)
    products = np.empty_like(bands[0])
    far, near = products
    b[1] -= bands[1, 1] * b[0]
    for i in range(2, n):
        np.multiply(bands[i], b[i - 2 : i], out=products)
        row = b[i]
        row -= near
        row -= far
    b /= pivot
    b[n - 2] -= bands[n - 1, 1] * b[n - 1]
    for i in range(n - 3, -1, -1):
        row = b[i]
        np.multiply(bands[i + 1, 1], b[i + 1], out=near)
        row -= near
        np.multiply(bands[i + 2, 0], b[i + 2], out=far)
        row -= far
    return b
