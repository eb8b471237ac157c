"""Columns of a table that was read: which of them count, which is x, and their units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.errors import Fact, InvalidOption, InvalidTable, error_from, error_from_all, quote
from services.files.axis import warn_of_axis
from services.files.common import Part, ReadOptions, find_x
from services.files.spool import Spool, SpooledTable
from services.files.words import unit_of
from services.tables import NAME_LENGTH, FloatArray, Labels, TableWarning, clean_names

_POSITION = re.compile(r"#([1-9][0-9]{0,6})")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names and units of all columns of a file, as they are written there.

    Parameters
    ----------
    names : tuple of str
        An empty name for a column that has none.
    units : tuple of str or None
        Cells of the row of units.
    line : int or None
        Line of the names.
    """

    names: tuple[str, ...]
    units: tuple[str, ...] | None = None
    line: int | None = None


class Picked:
    """Some columns of a spool.

    Parameters
    ----------
    spool : Spool
        The spool.
    places : sequence of int
        Positions of the columns, in the order in which they are given.
    rows : int or None
        Rows from the first that count; all if None.
    """

    def __init__(self, spool: Spool, places: Sequence[int], rows: int | None = None) -> None:
        self._spool = spool
        self._places = places
        self.rows = spool.rows if rows is None else rows

    def read(self, start: int, stop: int) -> FloatArray:
        """Read some of the columns; see `Spool.read`."""
        places = list(self._places[start:stop])
        if places and places == list(range(places[0], places[0] + len(places))):
            values = self._spool.read(places[0], places[-1] + 1)
        else:
            values = np.empty((len(places), self._spool.rows))
            for at, place in enumerate(places):
                values[at] = self._spool.read(place, place + 1)[0]
        return np.ascontiguousarray(values[:, : self.rows])

    def close(self) -> None:
        """Release memory and disk."""
        self._spool.close()


def resolve(wanted: str, names: Sequence[str], parameter: str) -> int:
    """Return the position of a column that a client names.

    Parameters
    ----------
    wanted : str
        A name, or ``#`` and a position from 1; a name wins.
    names : sequence of str
        Names of all columns.
    parameter : str
        The option, for the error.

    Returns
    -------
    int

    Raises
    ------
    InvalidTable
        There is no such column.
    """
    stripped = [name.strip() for name in names]
    if wanted.strip() in stripped:
        return stripped.index(wanted.strip())
    match = _POSITION.fullmatch(wanted.strip())
    if match and int(match[1]) <= len(names):
        return int(match[1]) - 1
    shown = ", ".join(quote(name) for name in stripped[:10])
    detail = f"There is no column {quote(wanted)} to take {_TAKEN[parameter]} from; there are"
    detail += f" {shown}{' and more' if len(names) > 10 else ''}."  # noqa: PLR2004
    raise error_from(InvalidTable, Fact(detail, "unknown_column", parameter=parameter))


_TAKEN = {"x_column": "x", "columns": "numbers"}


def check_columns(columns: Columns, options: ReadOptions) -> set[int] | None:
    """Check names and options before any number is read.

    Parameters
    ----------
    columns : Columns
        All columns.
    options : ReadOptions
        `columns`, `x_column` and `layout`.

    Returns
    -------
    set of int or None
        Positions of the columns that the client names, with x; None for all.

    Raises
    ------
    InvalidTable
        A name cannot be used, or there is no such column.
    """
    if options.layout == "pairs":
        return None
    x = None
    if options.x_column:
        x = resolve(options.x_column, columns.names, "x_column")
    if not options.columns:
        named = [name if name.strip() else f"#{at}" for at, name in enumerate(columns.names)]
        _clean(named, columns.line)
        return None
    places = {resolve(name, columns.names, "columns") for name in options.columns}
    if x is None:
        stripped = [name.strip() for name in columns.names]
        x = next((stripped.index(name) for name in options.usual_x if name in stripped), 0)
    return places | {x}


def _clean(names: Sequence[str], line: int | None) -> tuple[str, ...]:
    try:
        return tuple(clean_names(list(names)))
    except InvalidTable as error:
        facts = [replace(_advise(fact), line=line) for fact in error.facts]
        raise error_from_all(facts) from None


def pick_parts(
    spool: Spool, columns: Columns, options: ReadOptions
) -> tuple[tuple[Part, ...], tuple[TableWarning, ...]]:
    """Leave out what is no data, and find x.

    Parameters
    ----------
    spool : Spool
        The numbers of all columns; each part closes it.
    columns : Columns
        Their names and units.
    options : ReadOptions
        Options of the client.

    Returns
    -------
    parts : tuple of Part
        One, or one for each pair of columns.
    warnings : tuple of TableWarning
        Other readings.

    Raises
    ------
    InvalidTable
        A column with numbers has no name, or there is no x and no curve.
    """
    if options.layout == "pairs":
        return _pair_up(spool, columns), ()
    chosen = check_columns(columns, options)
    warnings: list[TableWarning] = []
    if chosen is not None:
        kept = sorted(chosen)
    else:
        kept, warnings = _leave_out_nameless(spool, columns, options)
    names = _clean([columns.names[at] for at in kept], columns.line)
    x_name = options.x_column
    if x_name:
        x_name = columns.names[resolve(x_name, columns.names, "x_column")]
    x = find_x(names, x_name, options.usual_x)
    warnings += warn_of_axis(names, x, x_name)
    labels = _labels(columns, [kept[x], *kept[:x], *kept[x + 1 :]])
    is_all = kept == list(range(len(columns.names)))
    return (Part(SpooledTable(spool if is_all else Picked(spool, kept), names, x), labels),), tuple(
        warnings
    )


def _advise(fact: Fact) -> Fact:
    if fact.code != "duplicate_name":
        return fact
    return replace(fact, detail=f"{fact.detail} Say layout=pairs if each curve has its own x.")


def _leave_out_nameless(
    spool: Spool, columns: Columns, options: ReadOptions
) -> tuple[list[int], list[TableWarning]]:
    """Leave out columns that have neither names nor numbers, and the index of pandas."""
    kept, warnings = [], []
    for at, name in enumerate(columns.names):
        if name.strip():
            kept.append(at)
            continue
        values = spool.read(at, at + 1)[0]
        numbers = np.flatnonzero(~np.isnan(values))
        if not numbers.size:
            continue
        is_index = at == 0 and len(columns.names) > 2 and _counts(values)  # noqa: PLR2004
        if not is_index or options.x_column == "#1":
            detail = f"Column {at + 1}: The name is empty; every column with numbers needs one."
            raise error_from(InvalidTable, Fact(detail, "empty_name", line=columns.line, column=""))
        detail = "The first column has no name and counts the rows, as the index of pandas does;"
        detail += " it was left out. Name it if it is x."
        warnings.append(TableWarning("index", detail, options={"header": "absent"}))
    return kept, warnings


def _counts(values: FloatArray) -> bool:
    """Tell whether a column counts its rows from 0 or 1."""
    if not values.size or values[0] not in (0.0, 1.0):
        return False
    return bool((values == np.arange(values.size) + values[0]).all())


def _labels(columns: Columns, places: Sequence[int]) -> Labels:
    """Return the units of columns, x first."""
    if columns.units is None:
        return Labels()
    x_unit, *units = (unit_of(columns.units[at]) for at in places)
    return Labels(x_unit, tuple(units) if any(units) else ())


def _pair_up(spool: Spool, columns: Columns) -> tuple[Part, ...]:
    """Make a part of each x and its curve."""
    width = len(columns.names)
    while width and not columns.names[width - 1].strip() and _is_empty(spool, width - 1):
        width -= 1
    if width % 2 or not width:
        detail = f"Leave out layout=pairs, or name the columns by columns=: there are {width}"
        detail += " columns, and pairs need an even number."
        raise error_from(InvalidOption, Fact(detail, "odd_columns", parameter="layout"))
    names = _name_pairs([name.strip() for name in columns.names[:width]])
    parts = []
    for pair, name in enumerate(names):
        places = (2 * pair, 2 * pair + 1)
        cells = spool.read(places[0], places[1] + 1)
        filled = np.flatnonzero(~np.isnan(cells).all(axis=0))
        rows = int(filled[-1]) + 1 if filled.size else 0
        if not rows:
            detail = f"Columns {places[0] + 1} and {places[1] + 1} hold no numbers."
            raise error_from(InvalidTable, Fact(detail, "no_rows", column=name))
        x_name = columns.names[places[0]].strip()[:NAME_LENGTH] or "x"
        pair_names = (x_name if x_name != name else "x", name)
        table = SpooledTable(Picked(spool, places, rows), pair_names, 0)
        parts.append(Part(table, _labels(columns, places)))
    return tuple(parts)


def _is_empty(spool: Spool, at: int) -> bool:
    return bool(np.isnan(spool.read(at, at + 1)).all())


def _name_pairs(names: Sequence[str]) -> list[str]:
    """Name each pair by its second column, or its first where the second ones repeat."""
    for found in (names[1::2], names[::2]):
        if len(set(found)) == len(found) and all(found):
            return clean_names(list(found))
    return [f"{name or 'y'} {at}" for at, name in enumerate(names[1::2], 1)]
