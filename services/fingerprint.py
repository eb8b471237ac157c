"""Fingerprints: the SHA-256 of the names and values of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from services.tables import Curves, FloatArray

_PART_BYTES = 8 << 20
"""Most bytes of curves hashed at once."""


def canonicalize(values: FloatArray) -> FloatArray:
    """Convert numbers to native, C-contiguous float64 with one and the same NaN for every gap."""
    array = np.ascontiguousarray(values, dtype=np.float64)
    gaps = np.isnan(array)
    if gaps.any():
        array = array.copy()
        array[gaps] = np.nan
    return array


def extend_sha256(sha256: str, names: Iterable[str], parts: Iterable[FloatArray]) -> str:
    """Extend the fingerprint of a dataset by more columns.

    It is a chain: each link hashes the previous link, the length of the name, the name and the
    values, all little-endian. So appending needs no old values, and the fingerprint of the first
    r curves is the one that the dataset had when it had r curves.

    Parameters
    ----------
    sha256 : str
        Fingerprint so far, hexadecimal; empty before the x column, which is the first link.
    names : iterable of m str
        Names of the columns.
    parts : iterable of ndarray
        Values of the columns, some at a time, as from `canonicalize`.

    Returns
    -------
    str
        Fingerprint with these columns, hexadecimal.
    """
    link = bytes.fromhex(sha256)
    for name, values in zip(names, chain.from_iterable(map(_as_bytes, parts)), strict=True):
        encoded = name.encode()
        digest = hashlib.sha256(link + len(encoded).to_bytes(8, "little") + encoded)
        digest.update(values)
        link = digest.digest()
    return link.hex()


def _as_bytes(part: FloatArray) -> NDArray[np.uint8]:
    """Return the bytes of each row."""
    return np.ascontiguousarray(part, dtype="<f8").view(np.uint8)


def table_sha256(curves: Curves) -> str:
    """Compute the fingerprint of a table; the format of its file does not matter."""
    first = extend_sha256("", (curves.x_name,), [curves.x[np.newaxis]])
    return extend_sha256(first, curves.names, curves.read_parts(_PART_BYTES))
