"""Savitzky-Golay filters: weights of `smooth` and `derivative`, and their sums over windows."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from services.grids import IndexArray
from services.preparing.planned import refuse_parameter
from services.tables import FloatArray

LEAST_WINDOW, MOST_WINDOW = 3, 201
"""Fewest and most points of a window."""

MOST_DEGREE = 6
"""Highest degree of the polynomial of a window."""


def check_window(window: int, degree: int, order: int) -> None:
    """Check the parameters of a filter.

    Parameters
    ----------
    window : int
        Points of the window.
    degree : int
        Degree of the polynomial.
    order : int
        Order of the derivative; 0 to smooth.

    Raises
    ------
    InvalidOption
        One is out of its range.
    """
    if not (LEAST_WINDOW <= window <= MOST_WINDOW and window % 2):
        detail = f"Give an odd `window` from {LEAST_WINDOW} to {MOST_WINDOW}."
        raise refuse_parameter("window", detail)
    most = min(MOST_DEGREE, window - 1)
    if not order <= degree <= most:
        detail = f"Give a `degree` from {order} to {most}, as the window has {window} points."
        raise refuse_parameter("degree", detail)


@lru_cache(maxsize=32)
def compute_weights(window: int, degree: int, order: int) -> FloatArray:
    """Compute the least-squares weights exactly, each rounded once.

    Parameters
    ----------
    window, degree, order : int
        As `check_window` accepts them.

    Returns
    -------
    ndarray of shape (window, window)
        [p, j] is the weight of point j in the value, or derivative per row, at point p.
    """
    half = window // 2
    points = range(-half, half + 1)
    polynomials = _make_orthogonal(window, degree)
    values = [[_evaluate(one, t) for t in points] for one in polynomials]
    norms = [sum(value * value for value in row) for row in values]
    slopes = [[_evaluate(_differentiate(one, order), t) for t in points] for one in polynomials]
    common = math.lcm(*norms)
    # Integers throughout; the quotient of two integers is correctly rounded.
    weights = [
        [
            sum(
                slope[p] * row[j] * (common // norm)
                for slope, row, norm in zip(slopes, values, norms, strict=True)
            )
            / common
            for j in range(window)
        ]
        for p in range(window)
    ]
    result = np.array(weights)
    result.flags.writeable = False
    return result


def _make_orthogonal(window: int, degree: int) -> list[list[int]]:
    """Make polynomials orthogonal on the points around 0, as integer coefficients from t^0 on.

    The recurrence of the discrete Chebyshev polynomials, each multiplied to make it whole.
    """
    previous: list[Fraction] = []
    current = [Fraction(1)]
    polynomials = []
    for k in range(degree + 1):
        whole = math.lcm(*(one.denominator for one in current))
        polynomials.append([int(one * whole) for one in current])
        factor = Fraction(k * k * (window * window - k * k), 4 * (4 * k * k - 1))
        following = [Fraction(0), *current]
        for power, one in enumerate(previous):
            following[power] -= factor * one
        previous, current = current, following
    return polynomials


def _evaluate(polynomial: list[int], t: int) -> int:
    return sum(coefficient * t**power for power, coefficient in enumerate(polynomial))


def _differentiate(polynomial: list[int], order: int) -> list[int]:
    for _ in range(order):
        polynomial = [power * coefficient for power, coefficient in enumerate(polynomial)][1:]
    return polynomial


def sum_windows(
    y: FloatArray, columns: IndexArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Sum weights times differences over the window of each point.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Curves without their gaps, C-contiguous. [unit of y]
    columns : ndarray of shape (n,)
        Positions of the numbers; where one is left out a run ends.
    weights : ndarray of shape (window, window)
        As from `compute_weights`.

    Returns
    -------
    middle, total : ndarray of shape (m, n)
        Each number, and the sum of c_j·(y_j - number) over its window, j ascending. NaN in runs
        shorter than the window. [unit of y]
    """
    window = len(weights)
    ends = np.flatnonzero(np.diff(columns) > 1) + 1
    runs = zip([0, *ends.tolist()], [*ends.tolist(), columns.size], strict=True)
    long = [(a, b) for a, b in runs if b - a >= window]
    middle, total = np.full_like(y, np.nan), np.full_like(y, np.nan)
    if not long:
        return middle, total
    at = np.concatenate([np.arange(a, b) for a, b in long])
    # The first and last points of a run use its first and last window.
    first = np.concatenate([np.clip(np.arange(a, b) - window // 2, a, b - window) for a, b in long])
    own = weights[at - first]
    here = np.take(y, at, axis=1)
    added = np.zeros_like(here)
    for j in range(window):
        away = np.take(y, first + j, axis=1)
        away -= here
        away *= own[:, j]
        added += away
    middle[:, at], total[:, at] = here, added
    return middle, total
