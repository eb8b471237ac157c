"""Numbers in fewer bytes, where all their bits return.

Measured values often have few decimals, or come from instruments that compute in float32. Then
integers and a power of ten, or float32, hold exactly the same numbers. IEEE 754 rounds a quotient
correctly, so every machine reads the same bits: k / 10**d is the float64 nearest to that decimal
number, which is also the float64 that a reader of text makes of its digits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tables import FloatArray

_FLOAT64 = np.dtype("<f8")

_SAMPLE = 32
"""Numbers, at least, that are tried before all of them are."""

_AT_ONCE = 1 << 15
"""Numbers that are narrowed and compared at once; they stay in the processor's cache."""

_TRIES = 3
"""Most counts of decimals that are tried with one type of integers."""

_POWERS = np.array([float(10**decimals) for decimals in range(20)])
"""Powers of ten, which float64 holds exactly; `**` of NumPy need not return them on any machine."""

_MOST = np.iinfo(np.int32).max

_SPECIAL = np.array([np.nan, -0.0])
"""Numbers that the least integers of a type stand for, from the least one on."""

_SPECIAL_BITS = _SPECIAL.view(np.int64)


@functools.lru_cache(maxsize=64)
def _parse(encoding: str | None) -> tuple[np.dtype[Any], int]:
    """Return the type of stored numbers, and the decimals that they count if they are integers."""
    if encoding is None:
        return _FLOAT64, 0
    name, _, decimals = encoding.partition("e-")
    return np.dtype(name).newbyteorder("<"), int(decimals or 0)


def count_item_bytes(encoding: str | None) -> int:
    """Return the bytes of a stored number.

    Parameters
    ----------
    encoding : str or None
        As from `narrow`.
    """
    return _parse(encoding)[0].itemsize


def widen(data: Any, encoding: str | None) -> FloatArray:
    """Return narrowed numbers as they were.

    Parameters
    ----------
    data : bytes-like
        All stored numbers, or some.
    encoding : str or None
        As from `narrow`.

    Returns
    -------
    ndarray
        One-dimensional float64; read-only where nothing was narrowed.
    """
    dtype, decimals = _parse(encoding)
    return _widen(np.frombuffer(data, dtype), decimals)


def _widen(stored: NDArray[Any], decimals: int) -> FloatArray:
    values: FloatArray = stored.astype(np.float64, copy=False)
    if stored.dtype.kind == "i":
        if decimals:
            values /= _POWERS[decimals]
        least = np.iinfo(stored.dtype).min
        special = np.flatnonzero(stored < least + len(_SPECIAL))
        if special.size:
            values[special] = _SPECIAL[stored[special].astype(np.intp) - least]
    return values


@np.errstate(over="ignore", invalid="ignore")
def narrow(values: FloatArray) -> tuple[NDArray[Any], str | None]:
    """Narrow numbers to fewer bytes, if each of them returns with the same bits.

    Parameters
    ----------
    values : ndarray
        At least one number, C-contiguous.

    Returns
    -------
    stored : ndarray of shape (values.size,)
        The numbers, little-endian.
    encoding : str or None
        Their type: "float32", or the like of "int16e-3" for integers that count thousandths;
        None for float64.
    """
    flat = values.reshape(-1)
    # An odd step seldom meets the same row of each curve.
    sample = flat[:: max(1, flat.size // _SAMPLE - 1) | 1].copy()
    decimals = _count_decimals(sample)
    if decimals is not None:
        for name in ("int16", "int32"):
            narrowed = _narrow_to_integers(flat, name, decimals)
            if narrowed is not None:
                return narrowed
    if _narrow_to_float32(sample) is not None:
        shortened = _narrow_to_float32(flat)
        if shortened is not None:
            return shortened, "float32"
    return flat.astype(_FLOAT64, copy=False), None


def _count_decimals(values: FloatArray) -> int | None:
    """Return how many decimals these numbers need as integers of 32 bits; None if those fail."""
    bits = _bits(values)
    numbers = values[(bits != _SPECIAL_BITS[0]) & (bits != _SPECIAL_BITS[1]), np.newaxis]
    scaled = np.rint(numbers * _POWERS)
    same = (np.abs(scaled) <= _MOST) & (_bits(scaled / _POWERS) == _bits(numbers))
    enough = np.flatnonzero(same.all(axis=0))
    return int(enough[0]) if enough.size else None


def _narrow_to_integers(
    flat: FloatArray, name: str, decimals: int
) -> tuple[NDArray[Any], str] | None:
    """Narrow numbers to integers, with more decimals where some of them need more."""
    stored = np.empty(flat.size, _parse(name)[0])
    for _ in range(_TRIES):
        failed = _store_integers(flat, stored, decimals)
        if failed is None:
            return stored, f"{name}e-{decimals}"
        more = _count_decimals(failed[:_SAMPLE])
        if more is None or more <= decimals:
            break
        decimals = more
    return None


def _store_integers(flat: FloatArray, stored: NDArray[Any], decimals: int) -> FloatArray | None:
    """Fill `stored`; return some numbers that do not return, None if all do."""
    limits = np.iinfo(stored.dtype)
    for part, place in _cut(flat):
        bits = _bits(part)
        scaled = np.rint(part * _POWERS[decimals])
        for integer, special in enumerate(_SPECIAL_BITS, limits.min):
            np.copyto(scaled, integer, where=bits == special)
        if not (scaled.min() >= limits.min and scaled.max() <= limits.max):
            return part[:0]
        stored[place] = scaled
        same: NDArray[np.bool_] = _bits(_widen(stored[place], decimals)) == bits
        if not same.all():
            return part[~same]
    return None


def _narrow_to_float32(flat: FloatArray) -> NDArray[Any] | None:
    stored: NDArray[Any] = np.empty(flat.size, _parse("float32")[0])
    for part, place in _cut(flat):
        stored[place] = part
        if not np.array_equal(_bits(_widen(stored[place], 0)), _bits(part)):
            return None
    return stored


def _cut(flat: FloatArray) -> Iterator[tuple[FloatArray, slice]]:
    """Yield parts that the processor's cache holds, and their places."""
    for start in range(0, flat.size, _AT_ONCE):
        place = slice(start, start + _AT_ONCE)
        yield flat[place], place


def _bits(values: FloatArray) -> NDArray[np.int64]:
    return values.view(np.int64)
