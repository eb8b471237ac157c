"""Spectra as the readers of JCAMP-DX and SPC find them, and how they become tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from services.errors import Fact, InvalidOption, InvalidTable, TooLarge, error_from, quote
from services.files.common import ReadOptions, Source, TableHead
from services.files.limits import ReadLimits
from services.files.picking import resolve
from services.files.spool import ColumnFile
from services.tables import NAME_LENGTH, FloatArray, Labels, TableWarning

X_NAME = "x"
"""Name of the x column of all spectra."""

_NUMBER_BYTES = 8

_NUMBER_LENGTH = 10
"""Characters for a number behind a name that comes twice."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Curves of a file on one x column; one with several curves is the only one of its file.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Abscissae in the order of the file; NaN is missing. [x_unit]
    y : ndarray of shape (m, n)
        One curve a row; NaN is missing. [unit]
    names : tuple of m str
        Names that the file gives to the curves; they may be empty, or the same.
    x_unit, unit : str or None
        Units as the file says them.
    attributes : tuple of m dict of str to str
        Labels of each curve.
    warnings : tuple of TableWarning
        Readings that may be wrong.
    """

    x: FloatArray
    y: FloatArray
    names: tuple[str, ...]
    x_unit: str | None
    unit: str | None
    attributes: tuple[dict[str, str], ...]
    warnings: tuple[TableWarning, ...] = ()


@dataclass(slots=True)
class Room:
    """Room for the numbers of a file, asked before there are any.

    Parameters
    ----------
    limits : ReadLimits
        How large the tables may be.
    size : int
        Size of the file. [bytes]
    """

    limits: ReadLimits
    size: int
    _columns: int = field(default=0, init=False)
    _numbers: int = field(default=0, init=False)

    def check(self, columns: int, rows: int, line: int | None = None) -> None:
        """Refuse a further table that is too large.

        Parameters
        ----------
        columns, rows : int
            Its columns, x among them, and its rows, as far as they are known.
        line : int or None
            Line of a text that tells.

        Raises
        ------
        TooLarge
            There is no room for it.
        """
        most = self.limits.max_rows
        if rows > most:
            detail = f"There are more than {most} rows."
            raise error_from(TooLarge, Fact(detail, "too_many_rows", line=line))
        most = self.limits.max_columns
        if self._columns + columns > most:
            detail = f"There are more than {most} columns, with an x column for each grid."
            raise error_from(TooLarge, Fact(detail, "too_many_columns", line=line))
        numbers = self._numbers + columns * rows
        self.limits.check_expansion(self.size, _NUMBER_BYTES * numbers)

    def take(self, columns: int, rows: int) -> None:
        """Count a table, which was checked.

        Parameters
        ----------
        columns, rows : int
            Its columns, x among them, and its rows.
        """
        self._columns += columns
        self._numbers += columns * rows


def write_spectra(
    spectra: Iterable[Spectrum], into: ColumnFile, source: Source, options: ReadOptions
) -> list[TableHead]:
    """Write spectra as tables, one for each.

    Parameters
    ----------
    spectra : iterable of Spectrum
        At least one.
    into : ColumnFile
        Gets the numbers.
    source : Source
        How the file was read.
    options : ReadOptions
        `stem` names a single curve, `columns` those that are read.

    Returns
    -------
    list of TableHead
        Curves have different names in the whole file.

    Raises
    ------
    InvalidTable
        A number is infinite, or there is no such column.
    InvalidOption
        `x_column` names a curve.
    """
    heads: list[TableHead] = []
    for spectrum in spectra:
        chosen = _choose(spectrum, options)
        head = _write(chosen, into, source)
        if len(spectrum.names) > 1:
            # The only one of its file, with names that are different.
            return [_rename(head, chosen.names, options)]
        into.offset += len(head.columns) * head.rows
        heads.append(head)
    names = [head.columns[1] for head in heads]
    unique = _make_unique([options.stem or names[0]] if len(names) == 1 else names)
    kept = _find_columns(unique, options)
    return [_rename(heads[at], (unique[at],), options) for at in kept]


def _choose(spectrum: Spectrum, options: ReadOptions) -> Spectrum:
    """Leave out the curves of a spectrum of several that the client does not name."""
    if len(spectrum.names) == 1 or not options.columns:
        return spectrum
    kept = _find_columns(spectrum.names, options)
    names, attributes = zip(
        *((spectrum.names[at], spectrum.attributes[at]) for at in kept), strict=True
    )
    return replace(spectrum, y=spectrum.y[kept], names=names, attributes=attributes)


def _find_columns(names: Sequence[str], options: ReadOptions) -> list[int]:
    """Return the positions of the curves that the client names, all of them by default."""
    if not options.columns:
        return list(range(len(names)))
    places = {resolve(name, (X_NAME, *names), "columns") for name in options.columns} - {0}
    if not places:
        detail = "Name a curve in columns; there is only x."
        raise error_from(InvalidTable, Fact(detail, "one_column", parameter="columns"))
    return [place - 1 for place in sorted(places)]


def _write(spectrum: Spectrum, into: ColumnFile, source: Source) -> TableHead:
    into.rows = spectrum.x.size
    columns = (X_NAME, *spectrum.names)
    for at, (name, values) in enumerate(zip(columns, (spectrum.x, *spectrum.y), strict=True)):
        if np.any(is_infinite := np.isinf(values)):
            row = int(np.argmax(is_infinite))
            detail = f"Row {row + 1} of the column {quote(name)} is too large for float64."
            raise error_from(InvalidTable, Fact(detail, "not_finite", row, column=name))
        into.write(at, 0, values)
    units = (spectrum.unit,) * len(spectrum.names)
    labels = Labels(spectrum.x_unit, units, spectrum.attributes)
    return TableHead(columns, into.rows, source, 0, labels, spectrum.warnings, into.offset)


def _make_unique(names: list[str]) -> list[str]:
    """Make names of curves of titles: not empty, not too long, and different from each other."""
    cleaned = [_clean(name) or str(position) for position, name in enumerate(names, 1)]
    known, taken, numbers = {X_NAME, *cleaned}, {X_NAME}, dict.fromkeys(cleaned, 1)
    unique = []
    for name in cleaned:
        candidate = name
        while candidate in taken or (candidate != name and candidate in known):
            numbers[name] += 1
            candidate = f"{name} ({numbers[name]})"
        taken.add(candidate)
        unique.append(candidate)
    return unique


def _clean(title: str) -> str:
    printable = "".join(filter(str.isprintable, " ".join(title.split())))
    return printable[: NAME_LENGTH - _NUMBER_LENGTH].strip()


def _rename(head: TableHead, names: tuple[str, ...], options: ReadOptions) -> TableHead:
    """Give a table its final names, and its warnings the name of its first curve."""
    columns = (X_NAME, *names)
    if options.x_column is not None and resolve(options.x_column, columns, "x_column") != 0:
        detail = f"Leave out x_column; the x of spectra is {X_NAME}."
        raise error_from(InvalidOption, Fact(detail, "invalid", parameter="x_column"))
    warnings = tuple(replace(warning, column=names[0]) for warning in head.warnings)
    return replace(head, columns=columns, warnings=warnings)
