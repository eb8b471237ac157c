"""log10 and 10^x, correctly rounded, so that no processor and no library changes a bit.

A sum of two floats holds the result with an error of less than 2^-66 of it. Where that error could
change the rounding, about once in five thousand numbers, the decimal arithmetic of Python decides.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from functools import lru_cache

import numpy as np

from services.grids import BoolArray
from services.tables import FloatArray

Pair = tuple[FloatArray, FloatArray]
"""A number as the sum of a float and a much smaller one."""

_EXACT = Context(prec=60)
"""Decimal arithmetic for the numbers that are hard to round; none is harder than 40 digits."""

_CHUNK = 1 << 14
"""Numbers computed at once; they stay in the processor's cache."""

_ERROR = 2.0**-66
"""Bound of the error of a pair, as a share of it."""

_SPLITTER = 2.0**27 + 1
"""Factor that splits a float into two halves of its digits (Dekker 1971)."""

_LEAST_NORMAL_EXPONENT = -1022
"""Exponent of the smallest float with all digits."""


def _split_decimal(value: Decimal) -> tuple[float, float]:
    high = float(value)
    return high, float(_EXACT.subtract(value, Decimal(high)))


_LN10 = _EXACT.ln(Decimal(10))
_LN2 = _EXACT.ln(Decimal(2))
_LOG10_E = _split_decimal(_EXACT.divide(Decimal(1), _LN10))
_LOG2_10 = _split_decimal(_EXACT.divide(_LN10, _LN2))
_LN_2 = _split_decimal(_LN2)


def compute_log10(values: FloatArray) -> FloatArray:
    """Compute decimal logarithms.

    Parameters
    ----------
    values : ndarray of shape (p,)
        Finite, above 0.

    Returns
    -------
    ndarray of shape (p,)
        Correctly rounded.
    """
    return _compute(values, _round_log10, lambda value: float(_EXACT.log10(Decimal(value))))


def compute_power_of_10(values: FloatArray) -> FloatArray:
    """Compute powers of 10.

    Parameters
    ----------
    values : ndarray of shape (p,)
        Finite exponents.

    Returns
    -------
    ndarray of shape (p,)
        Correctly rounded; infinite where float64 cannot hold it.
    """
    # Beyond these all powers are infinite, or 0.
    clipped = np.clip(values, -330.0, 330.0)
    exact = Decimal(10)
    return _compute(clipped, _round_power, lambda value: float(_EXACT.power(exact, Decimal(value))))


def _compute(
    values: FloatArray,
    round_most: Callable[[FloatArray], tuple[FloatArray, BoolArray]],
    decide: Callable[[float], float],
) -> FloatArray:
    result = np.empty_like(values)
    for start in range(0, values.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        with np.errstate(over="ignore", under="ignore"):
            result[chunk], sure = round_most(values[chunk])
        doubtful = np.flatnonzero(~sure)
        if doubtful.size:
            distinct, places = np.unique(values[chunk][doubtful], return_inverse=True)
            decided = np.array([decide(value) for value in distinct.tolist()])
            result[start + doubtful] = decided[places]
    return result


def _add(a: FloatArray, b: FloatArray) -> Pair:
    """Add two floats of any size without error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _split(a: FloatArray) -> Pair:
    high = _SPLITTER * a
    high = high - (high - a)
    return high, a - high


def _multiply(a: FloatArray, b: FloatArray) -> Pair:
    """Multiply two floats without error (Dekker)."""
    product = a * b
    (a1, a2), (b1, b2) = _split(a), _split(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _multiply_pair(a: Pair, factor: tuple[float, float]) -> Pair:
    product, rest = _multiply(a[0], np.asarray(factor[0]))
    return product, rest + (a[0] * factor[1] + a[1] * factor[0])


def _round_pair(high: FloatArray, low: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Round a pair to one float; tell where the error of the pair could not change it."""
    error = np.abs(high) * _ERROR
    result = high + (low - error)
    return result, result == high + (low + error)


@lru_cache(maxsize=1)
def _make_log_table() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Make the factor for each 1024th from 0 to 1.5, and its negative log10 as a pair."""
    factors = [1.0] * 700 + [round(2048 * 1024 / i) / 2048 for i in range(700, 1537)]
    logs = [_split_decimal(-_EXACT.log10(Decimal(factor))) for factor in factors]
    high, low = np.array(logs).T.copy()
    return np.array(factors), high, low


@lru_cache(maxsize=1)
def _make_exponent_table() -> Pair:
    """Make log10 of 2^k for each exponent k, from -1100 to 1100, as pairs."""
    log = _EXACT.log10(Decimal(2))
    logs = [_split_decimal(_EXACT.multiply(Decimal(k), log)) for k in range(-1100, 1101)]
    high, low = np.array(logs).T.copy()
    return high, low


def _round_log10(values: FloatArray) -> tuple[FloatArray, BoolArray]:
    digits, exponents = np.frexp(values)
    small = digits < np.sqrt(0.5)
    digits = np.where(small, 2 * digits, digits)
    exponents = exponents - small
    # The logarithm of digits·factor, which is nearly 1, and of the factor, from a table.
    factors, log_high, log_low = _make_log_table()
    index = np.rint(digits * 1024).astype(np.intp)
    upper, lower = _split(digits)
    r, r_low = _add(upper * factors[index] - 1, lower * factors[index])
    square, square_low = _multiply(r, r)
    square_low += 2 * r * r_low
    cube = r * square * (1 / 3 - r * (1 / 4 - r * (1 / 5 - r * (1 / 6 - r * (1 / 7)))))
    high, low = _add(r, -0.5 * square)
    high, low = _multiply_pair((high, low + (r_low - 0.5 * square_low + cube)), _LOG10_E)
    table_high, table_low = _make_exponent_table()
    far, far_low = _add(table_high[exponents + 1100], log_high[index])
    far_low += table_low[exponents + 1100] + log_low[index]
    total, rest = _add(far, high)
    return _round_pair(*_add(total, rest + (far_low + low)))


@lru_cache(maxsize=1)
def _make_power_table() -> Pair:
    """Make 2^(j/1024) for each j, as pairs."""
    powers = [_split_decimal(_EXACT.power(Decimal(2), Decimal(j) / 1024)) for j in range(1024)]
    high, low = np.array(powers).T.copy()
    return high, low


def _round_power(values: FloatArray) -> tuple[FloatArray, BoolArray]:
    power, power_low = _multiply_pair((values, np.zeros_like(values)), _LOG2_10)
    slots = np.rint(power * 1024)
    # 10^x = 2^exponent · 2^(j/1024) · e^z, with a small z.
    z, z_low = _multiply_pair(_add(power - slots / 1024, power_low), _LN_2)
    z_low += z * z * (1 / 2 + z * (1 / 6 + z * (1 / 24 + z * (1 / 120))))
    whole = slots.astype(np.intp)
    exponents, index = whole >> 10, whole & 1023
    table_high, table_low = (one[index] for one in _make_power_table())
    product, product_low = _multiply(table_high, z)
    high, low = _add(table_high, product)
    high, low = _add(high, low + (product_low + table_high * z_low + table_low * (1 + z)))
    # Below the normal floats the last digit is 2^-1074: adding the smallest of them rounds there.
    least_normal = np.ldexp(1.0, _LEAST_NORMAL_EXPONENT - exponents)
    large = np.where(least_normal > high, least_normal, 0.0)
    total, rest = _add(large, high)
    error = high * _ERROR
    result = total + (rest + low - error)
    sure = result == total + (rest + low + error)
    return np.ldexp(result - large, exponents), sure
