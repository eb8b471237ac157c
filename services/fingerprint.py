"""The SHA-256 of the values of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain

import numpy as np

from services.tables import PIECE_BYTES, Curves, FloatArray


def canonical(values: FloatArray) -> FloatArray:
    """Native, C-contiguous float64 with one single NaN for every gap.

    Parameters
    ----------
    values : ndarray
        Numbers, NaN where there is none.

    Returns
    -------
    ndarray
        The same numbers to the bit, every NaN the quiet one of NumPy.
    """
    array = np.ascontiguousarray(values, dtype=np.float64)
    gaps = np.isnan(array)
    if gaps.any():
        array = array.copy()
        array[gaps] = np.nan
    return array


def extend_sha256(sha256: str, names: Iterable[str], pieces: Iterable[FloatArray]) -> str:
    """Fingerprint of a dataset after more columns.

    A chain: each link hashes the link before, the length of the name, the name and the values,
    all little-endian. So appending needs no old values, and the fingerprint of the first r
    curves is the one the dataset had when it held r.

    Parameters
    ----------
    sha256 : str
        Fingerprint before, hexadecimal; empty before the x column, which is the first link.
    names : iterable of m str
        Names of the columns.
    pieces : iterable of ndarray of shape (some of m, n)
        Their values, as `canonical` gives them.

    Returns
    -------
    str
        Fingerprint after the last of them, hexadecimal.
    """
    link = bytes.fromhex(sha256)
    for name, values in zip(names, chain.from_iterable(pieces), strict=True):
        encoded = name.encode()
        digest = hashlib.sha256(link)
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
        digest.update(np.ascontiguousarray(values, dtype="<f8").data)
        link = digest.digest()
    return link.hex()


def table_sha256(curves: Curves) -> str:
    """Fingerprint of names and values, the same whatever file they came from.

    Parameters
    ----------
    curves : Curves
        With canonical values.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    first = extend_sha256("", (curves.x_name,), [curves.x[np.newaxis]])
    return extend_sha256(first, curves.names, curves.pieces(PIECE_BYTES))
