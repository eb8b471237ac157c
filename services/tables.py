"""A table of curves on one grid, and its fingerprint."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.errors import Fact, InvalidTable

FloatArray = NDArray[np.float64]

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: controls, lone surrogates, line and paragraph separators."""

NAME_LENGTH = 200
"""Characters that the name of a dataset or a curve may have."""


@dataclass(frozen=True, slots=True)
class Table:
    """Curves that share one x column.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Abscissae in the order in which they came; NaN is a gap. [unit of x]
    y : ndarray of shape (m, n)
        One curve a row, C-contiguous; NaN is a gap. [unit of y]
    names : tuple of m str
        Names of the curves.
    x_name : str
        Name of the x column.
    """

    x: FloatArray
    y: FloatArray
    names: tuple[str, ...]
    x_name: str = "x"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, x first."""
        return (self.x_name, *self.names)


def clean_names(names: list[str]) -> list[str]:
    """Column names without the spaces around them.

    Parameters
    ----------
    names : list of str
        Names as they came.

    Returns
    -------
    list of str
        The same names, stripped.

    Raises
    ------
    InvalidTable
        A name is empty, too long, holds a control character, or stands twice.
    """
    cleaned = [name.strip() for name in names]
    seen: dict[str, int] = {}
    facts = []
    for position, name in enumerate(cleaned):
        problem = _name_problem(name)
        if problem is None and name in seen:
            both = f"Columns {seen[name] + 1} and {position + 1} are both called {name!r}"
            problem = (f"{both}; give each column a name of its own.", "duplicate_name")
        seen.setdefault(name, position)
        if problem is not None:
            detail, code = problem
            facts.append(Fact(f"Column {position + 1}: {detail}", code, column=name[:NAME_LENGTH]))
    if facts:
        raise InvalidTable("The column names cannot be used.", facts[:20])
    return cleaned


def _name_problem(name: str) -> tuple[str, str] | None:
    if not name:
        return "The name is empty; every column needs one.", "empty_name"
    if len(name) > NAME_LENGTH:
        return f"The name is longer than {NAME_LENGTH} characters.", "long_name"
    if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        return "The name holds a control character or a line break.", "bad_name"
    return None


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


def extend_sha256(sha256: str, names: tuple[str, ...], y: FloatArray) -> str:
    """Fingerprint of a dataset after more columns.

    A chain: each link hashes the link before, the length of the name, the name and the values,
    all little-endian. So appending needs no old values, and the fingerprint of the first r
    curves is the one the dataset had when it held r.

    Parameters
    ----------
    sha256 : str
        Fingerprint before, hexadecimal; empty before the x column, which is the first link.
    names : tuple of m str
        Names of the columns.
    y : ndarray of shape (m, n)
        Their values, as `canonical` gives them.

    Returns
    -------
    str
        Fingerprint after the last of them, hexadecimal.
    """
    link = bytes.fromhex(sha256)
    for name, values in zip(names, y, strict=True):
        encoded = name.encode()
        digest = hashlib.sha256(link)
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
        digest.update(np.ascontiguousarray(values, dtype="<f8").data)
        link = digest.digest()
    return link.hex()


def table_sha256(table: Table) -> str:
    """Fingerprint of names and values, the same whatever file they came from.

    Parameters
    ----------
    table : Table
        A table with canonical values.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    first = extend_sha256("", (table.x_name,), table.x[np.newaxis])
    return extend_sha256(first, table.names, table.y)
