"""Powers of two that are factored out of curves, so that no intermediate number overflows.

The rule is in docs/method.md, "Transform".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.tables import FloatArray

_SAFE_EXPONENT = 400
"""Exponent up to which numbers can be squared, and millions of squares added, in float64."""


def count_excess_bits(largest: FloatArray) -> NDArray[np.intp]:
    """Count the powers of two to factor out of curves.

    Parameters
    ----------
    largest : ndarray of shape (m,)
        The largest magnitude of each curve; finite. [unit of y]

    Returns
    -------
    ndarray of shape (m,)
        0 for ordinary curves.
    """
    _, exponent = np.frexp(largest)
    safe = np.minimum(np.maximum(exponent, -_SAFE_EXPONENT), _SAFE_EXPONENT)
    return np.asarray(exponent - safe)


def factor_out(y: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """Factor powers of two out of each curve.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Curves; NaN is a gap. [unit of y]

    Returns
    -------
    y : ndarray of shape (m, n)
        The curves without their powers of two; the same array where all are ordinary.
    shift : ndarray of shape (m,)
        The powers, for `put_back`.
    """
    largest = np.fmax.reduce(np.abs(y), axis=-1, initial=0.0)
    shift = count_excess_bits(largest)
    return put_back(y, -shift), shift


def put_back(y: FloatArray, shift: NDArray[np.intp]) -> FloatArray:
    """Multiply each curve by a power of two.

    Parameters
    ----------
    y : ndarray of shape (m, n)
        Curves. [unit of y]
    shift : ndarray of shape (m,)
        A power for each.

    Returns
    -------
    ndarray of shape (m, n)
        The same array where all powers are 0.
    """
    return np.ldexp(y, shift[:, np.newaxis]) if shift.any() else y
