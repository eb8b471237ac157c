"""A table of JCAMP-DX as x and y: where points lie, and whether that agrees with the header."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from services.errors import Fact, InvalidTable, error_from, quote
from services.files.jcamp_numbers import Line, Ordinates, read_ordinates, read_pairs
from services.files.spectra import Room
from services.tables import FloatArray, TableWarning

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", re.ASCII)
_DIGITS_AROUND_COMMA = re.compile(r"\d,(?=\d)", re.ASCII)
_CLOSE = 0.01
"""Relative difference from FIRSTY that is taken for a rounded header."""

_HALF = 0.501
"""Half a step, with room for rounding."""

_NEEDED = ("FIRSTX", "LASTX", "DELTAX", "XFACTOR", "YFACTOR")


@dataclass(slots=True)
class Header:
    """The labels that say how to read a table.

    Parameters
    ----------
    labels : dict of str to str
        FIRSTX, LASTX, DELTAX, XFACTOR, YFACTOR, NPOINTS and FIRSTY, as far as there are any.
    decimal : str or None
        Decimal mark, if the client named it.
    line : int
        Line of the table's label.
    warnings : list of TableWarning
        Gets what does not agree.
    """

    labels: dict[str, str]
    decimal: str | None
    line: int
    warnings: list[TableWarning] = field(default_factory=list)

    def find_decimal(self) -> str | None:
        """Return the decimal mark; None if no number of the header has one.

        Returns
        -------
        str or None
        """
        if self.decimal is not None:
            return self.decimal
        numbers = [text for label, text in self.labels.items() if label != "NPOINTS"]
        if any("." in number for number in numbers):
            return "."
        return "," if any(map(_WITH_COMMA.fullmatch, numbers)) else None

    def number(self, label: str) -> float | None:
        """Return the number behind a label; None if there is none.

        Parameters
        ----------
        label : str

        Returns
        -------
        float or None

        Raises
        ------
        InvalidTable
            There is something else, and points depend on it.
        """
        text = self.labels.get(label, "").strip()
        number = text.replace(",", ".") if self.find_decimal() == "," else text
        if _NUMBER.fullmatch(number) and math.isfinite(float(number)):
            return float(number)
        if text not in ("", "?") and label in _NEEDED:
            detail = f"Line {self.line}: correct the label {label} of the table,"
            detail += f" which holds {quote(text)} and not a number."
            raise error_from(InvalidTable, Fact(detail, "bad_label", line=self.line))
        return None

    def factor(self, label: str) -> float:
        """Return XFACTOR or YFACTOR.

        Parameters
        ----------
        label : str

        Returns
        -------
        float
            1 if there is none.

        Raises
        ------
        InvalidTable
            It is 0.
        """
        value = self.number(label)
        if value == 0:
            detail = f"Line {self.line}: correct the label {label} of the table, which is 0."
            raise error_from(InvalidTable, Fact(detail, "bad_label", line=self.line))
        return 1.0 if value is None else value

    def warn(self, code: str, detail: str) -> None:
        """Add a warning.

        Parameters
        ----------
        code, detail : str
            As in `TableWarning`.
        """
        self.warnings.append(TableWarning(code, detail))


def read_table(
    lines: Iterable[Line], header: Header, room: Room, *, is_paired: bool
) -> tuple[FloatArray, FloatArray]:
    """Read a table.

    Parameters
    ----------
    lines : iterable of Line
        Its lines.
    header : Header
        How to read it.
    room : Room
        Asked for the numbers.
    is_paired : bool
        Whether it has the form ``(XY..XY)``, else ``(X++(Y..Y))``.

    Returns
    -------
    x, y : ndarray of shape (n,)
        The points in their order; NaN is missing.

    Raises
    ------
    InvalidTable
        A line holds something else, or the places of the points are not known.
    TooLarge
        There are more points than the limits allow.
    """
    x_factor, y_factor = header.factor("XFACTOR"), header.factor("YFACTOR")
    marks = _Marks(header.find_decimal())
    if is_paired:
        x, y = read_pairs(marks.watch(lines), room)
        x = x * x_factor
        _compare_count(header, y.size, marks, y.size - marks.commas / 2)
    else:
        found = read_ordinates(marks.watch(lines), room)
        y = np.array(found.values)
        _compare_count(header, y.size, marks, y.size - marks.commas)
        x = _place(found, header, x_factor)
        _compare_checks(header, found)
    _compare_first(header, y, y_factor)
    room.take(2, y.size)
    return x, y * y_factor


@dataclass(slots=True)
class _Marks:
    """Points and commas in the numbers of a table."""

    decimal: str | None
    has_points: bool = False
    commas: int = 0
    comma_line: int | None = None

    def watch(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield the lines with decimal points, and look at them."""
        for number, text in lines:
            if self.decimal == ",":
                yield number, text.replace(",", ".")
                continue
            if self.decimal is None:
                self.has_points |= "." in text
                if commas := len(_DIGITS_AROUND_COMMA.findall(text)):
                    self.commas += commas
                    self.comma_line = self.comma_line or number
            yield number, text


def _compare_count(header: Header, count: int, marks: _Marks, otherwise: float) -> None:
    """Compare the points with NPOINTS; `otherwise` are those with decimal commas."""
    stated = header.number("NPOINTS")
    if stated is None or stated == count:
        return
    line = marks.comma_line
    if line and not marks.has_points and otherwise == stated:
        detail = f"Say decimal=, or decimal=.; a comma in line {line} may part digits, which gives"
        detail += f" {stated:g} points as NPOINTS says, or numbers, which gives {count}."
        fact = Fact(detail, "ambiguous_decimal", line=line, parameter="decimal")
        raise error_from(InvalidTable, fact)
    detail = f"There are {count} points, but NPOINTS is {stated:.17g}; x may be off by some steps."
    header.warn("npoints", detail)


def _compare_checks(header: Header, found: Ordinates) -> None:
    if found.failed:
        detail = f"{found.failed} of {found.checks} lines do not begin with the ordinate that ends"
        detail += f" the line before, the first in line {found.failed_line}; points may be damaged."
        header.warn("check_ordinate", detail)


def _compare_first(header: Header, y: FloatArray, factor: float) -> None:
    stated = header.number("FIRSTY")
    if stated is None or not y.size or math.isnan(y[0]):
        return
    if not any(math.isclose(value, stated, rel_tol=_CLOSE) for value in (y[0] * factor, y[0])):
        detail = f"The first ordinate is {y[0] * factor:.6g}, but FIRSTY is {stated:.6g};"
        header.warn("firsty", f"{detail} YFACTOR, {factor:g}, may be wrong.")


# Abscissae


def _place(found: Ordinates, header: Header, factor: float) -> FloatArray:
    """Compute the abscissae of ``(X++(Y..Y))``."""
    if not found.values:
        return np.empty(0)
    return _Abscissae(found, header, factor).place()


class _Abscissae:
    """The abscissae of a table, as its header and its lines say them."""

    def __init__(self, found: Ordinates, header: Header, factor: float) -> None:
        self._found = found
        self._header = header
        self._count = len(found.values)
        self._starts = np.minimum(found.starts, self._count - 1)
        self._written = np.array(found.abscissae) * factor
        self._roundings = np.array(found.roundings) * abs(factor)
        first = header.number("FIRSTX")
        self._first = float(self._written[0]) if first is None else first
        self._last, self._stated = header.number("LASTX"), header.number("NPOINTS")

    def place(self) -> FloatArray:
        """Compute them from the header, if the lines agree; else take those of the lines."""
        is_single = np.array_equal(self._found.starts, np.arange(self._count))
        if self._last is not None and self._stated == self._count:
            x = np.linspace(self._first, self._last, self._count)
            wrong = self._tell_wrong(x)
            if wrong and not is_single:
                self._header.warn("abscissae", f"x may be wrong: {wrong}")
            return self._written if wrong and is_single else x
        candidates = [
            self._first + np.arange(self._count, dtype=np.float64) * step for step in self._steps()
        ]
        wrong = "add DELTAX, or LASTX and NPOINTS, to the labels of the table."
        if candidates:
            x = min(candidates, key=lambda x: float(np.max(self._distances(x))))
            wrong = self._tell_wrong(x)
            if not wrong:
                self._compare_last(x)
                return x
        if is_single:
            return self._written
        line = self._header.line
        detail = f"Line {line}: correct the table or its labels, which do not agree: {wrong}"
        raise error_from(InvalidTable, Fact(detail, "no_abscissae", line=line))

    def _steps(self) -> Iterator[float]:
        """Yield the steps that the header allows; of equally good ones the first counts."""
        if self._last is not None:
            for count in (self._count, self._stated):
                if count is not None and count > 1:
                    yield (self._last - self._first) / (count - 1)
        if (delta := self._header.number("DELTAX")) is not None:
            yield delta

    def _distances(self, x: FloatArray) -> FloatArray:
        """Return how far each line lies from x."""
        return np.abs(x[self._starts] - self._written)

    def _tell_wrong(self, x: FloatArray) -> str:
        """Tell the line that lies farthest from x; empty if all lie within half a step."""
        step = abs(x[-1] - x[0]) / max(1, self._count - 1)
        # Abscissae may be rounded to less than a step.
        allowed = np.where(self._roundings > step, self._roundings, step * _HALF)
        beyond = self._distances(x) - allowed
        at = int(np.argmax(beyond))
        if not beyond[at] > 0:
            return ""
        computed, written = x[self._starts[at]], self._written[at]
        return f"line {self._found.lines[at]} begins at x = {written:.9g}, computed {computed:.9g}."

    def _compare_last(self, x: FloatArray) -> None:
        step = abs(x[-1] - x[0]) / max(1, self._count - 1)
        if self._last is not None and abs(x[-1] - self._last) > step * _HALF:
            detail = f"The last x is {x[-1]:.9g}, but LASTX is {self._last:.9g}."
            self._header.warn("lastx", detail)
