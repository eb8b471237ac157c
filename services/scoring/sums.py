"""Sums over rows from which powers of two are factored out (docs/method.md, Transform).

Squares of very large and very small numbers do not fit in float64. Powers of two change no digit,
so ordinary rows, whose shifts are 0, give the bits of the plain expressions.
"""

from __future__ import annotations

import numpy as np

from services.grids import BoolArray, IndexArray
from services.powers import count_excess_bits
from services.tables import FloatArray

_LEAST_SURE_SUM = 2.0**-900
"""Size below which a sum of products may have lost terms, or their digits, to underflow."""

_LEAST_EXPONENT = -2147
"""Exponent of the product of the two smallest floats."""


def sum_rows(rows: FloatArray) -> FloatArray:
    """Sum each row as np.sum does, without its checks of the arguments."""
    return np.asarray(np.add.reduce(rows, axis=-1))


def sum_products(y: FloatArray, f: FloatArray) -> tuple[FloatArray, IndexArray]:
    """Sum y·f over each row; give each sum as a number and a power of two.

    The power is 0 unless the sum is so small that its terms may have underflowed. Such a sum is
    computed again from the digits of y and f, with the exponent of the largest product factored
    out.

    Parameters
    ----------
    y, f : ndarray of shape (m, n)
        Without their powers of two; `y` may have one row for all of f.

    Returns
    -------
    total, exponent : ndarray of shape (m,)
        Each sum is total times 2**exponent.
    """
    products = y * f
    total = sum_rows(products)
    exponent = np.zeros(total.shape, dtype=np.intp)
    doubtful = np.flatnonzero(np.abs(total) < _LEAST_SURE_SUM)
    if doubtful.size:
        y_part = np.broadcast_to(y, f.shape)[doubtful]
        (y_digits, y_exponents), (f_digits, f_exponents) = np.frexp(y_part), np.frexp(f[doubtful])
        digits, exponents = y_digits * f_digits, y_exponents + f_exponents
        top = np.max(exponents, axis=-1, where=digits != 0, initial=_LEAST_EXPONENT)
        total[doubtful] = sum_rows(np.ldexp(digits, exponents - top[:, np.newaxis]))
        exponent[doubtful] = top
    return total, exponent


def average(rows: FloatArray, constant: BoolArray) -> FloatArray:
    """Compute the mean of each row, exact for a constant one."""
    return np.where(constant, rows[:, 0], sum_rows(rows) / rows.shape[-1])


def find_shift(rows: FloatArray) -> tuple[IndexArray, BoolArray]:
    """Find the power of two to take out of each row, and whether the row is constant."""
    highest, lowest = np.maximum.reduce(rows, axis=-1), np.minimum.reduce(rows, axis=-1)
    return count_excess_bits(np.maximum(highest, -lowest)), highest == lowest
