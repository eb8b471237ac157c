"""The numbers in a table of JCAMP-DX.

McDonald and Wilks, Applied Spectroscopy 42 (1988) 151, describe them. A line of
``(X++(Y..Y))`` holds an abscissa and the ordinates from there on: plain (AFFN), parted by their
signs (PAC), or compressed (ASDF). There, the first digit is a letter, which also says the sign
(SQZ), or that the number is the difference from the one before (DIF), or how often the latter
comes (DUP).
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from services.errors import Fact, InvalidTable, error_from, quote
from services.files.spectra import Room
from services.tables import FloatArray

Line = tuple[int, str]
"""Number of a line, from 1, and its text without a comment."""

_SQZ = {letter: str(digit) for digit, letter in enumerate("@ABCDEFGHI")}
_SQZ |= {letter: f"-{digit}" for digit, letter in enumerate("abcdefghi", 1)}
_DIF = {letter: str(digit) for digit, letter in enumerate("%JKLMNOPQR")}
_DIF |= {letter: f"-{digit}" for digit, letter in enumerate("jklmnopqr", 1)}
_DUP = {letter: str(digit) for digit, letter in enumerate("STUVWXYZs", 1)}

_PLAIN = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(_PLAIN, re.ASCII)
_PLAIN_CHARACTERS = "0123456789+-. "
# E and e are digits too, so behind an abscissa they make an exponent only with a sign.
_ABSCISSA = re.compile(rf"({_PLAIN}(?:[eE][+-]\d+)?|[@A-Ia-i]\d*\.?\d*)\s*[,;]?\s*", re.ASCII)
_ORDINATE = re.compile(
    rf"(?:({_PLAIN}(?:[eE][+-]?\d+)?)|([@A-Ia-i%J-Rj-rS-Zs])(\d*\.?\d*)|\?)\s*[,;]?\s*", re.ASCII
)
_PAIRED = re.compile(rf"(?:({_PLAIN}(?:[eE][+-]?\d+)?)|\?)\s*[,;]?\s*", re.ASCII)

_MOST_DIGITS = 15
"""Digits of a number of repetitions; more are damage."""

_MOST_EXPONENT = 308

_CLOSE = 1e-9
"""Relative difference of a check from a sum of differences, which may have decimals."""


@dataclass(slots=True)
class Ordinates:
    """Ordinates of a table, and what its lines say of their place.

    Parameters
    ----------
    values : array of float
        Ordinates, not multiplied by the factor; NaN is missing.
    starts, abscissae, roundings, lines : array
        For each line the index of its first ordinate, the abscissa before it, the value of the
        last digit of that, and the number of the line.
    checks, failed : int
        Lines whose first ordinate has to repeat the last one of the line before, and those where
        it does not.
    failed_line : int or None
        Number of the first such line.
    """

    values: array[float] = field(default_factory=lambda: array("d"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    abscissae: array[float] = field(default_factory=lambda: array("d"))
    roundings: array[float] = field(default_factory=lambda: array("d"))
    lines: array[int] = field(default_factory=lambda: array("q"))
    checks: int = 0
    failed: int = 0
    failed_line: int | None = None


def read_ordinates(lines: Iterable[Line], room: Room) -> Ordinates:
    """Read the lines of ``(X++(Y..Y))``.

    A line that ends with a difference is followed by one that repeats its last ordinate, as a
    check. It takes the place of what it repeats, because further differences start from it.

    Parameters
    ----------
    lines : iterable of Line
        The table, with decimal points.
    room : Room
        Asked before ordinates are repeated.

    Returns
    -------
    Ordinates

    Raises
    ------
    InvalidTable
        A line holds something else.
    TooLarge
        There are more points than the limits allow.
    """
    reader = _OrdinateReader(room)
    for number, text in lines:
        if line := text.strip():
            reader.read(number, line)
    return reader.found


class _OrdinateReader:
    def __init__(self, room: Room) -> None:
        self.found = Ordinates()
        self._room = room
        self._number = 0
        self._difference: float | None = None
        self._is_checked = False
        self._computed: float | None = None  # the last ordinate, if its check failed

    def read(self, number: int, line: str) -> None:
        """Read a line that is not empty."""
        self._number, self._is_checked = number, self._difference is not None
        rest = self._read_abscissa(line)
        self._difference = self._computed = None
        if self._is_checked or not self._read_plain(rest):
            self._read_any(rest)
        if self._computed is not None and len(self.found.values) == self.found.starts[-1] + 1:
            # A check that no difference starts from may be only the end of a table.
            self.found.values[-1] = self._computed
        self._room.check(2, len(self.found.values), number)

    def _read_plain(self, rest: str) -> bool:
        """Read ordinates that are all plain, and tell whether they were; this is faster."""
        if rest.strip(_PLAIN_CHARACTERS):
            return False
        numbers = _NUMBER.findall(rest)
        if len("".join(numbers)) != len(rest) - rest.count(" "):
            return False
        self.found.values.extend(map(float, numbers))
        return True

    def _read_any(self, rest: str) -> None:
        at = 0
        for match in _ORDINATE.finditer(rest):
            if match.start() != at or not self._take(*match.groups(), is_first=at == 0):
                break
            at = match.end()
        if at != len(rest):
            raise _unreadable(self._number, rest[at:])

    def _read_abscissa(self, line: str) -> str:
        """Read the abscissa of a line, and return the rest."""
        match = _ABSCISSA.match(line)
        if match is None:
            raise _unreadable(self._number, line)
        text = _SQZ.get(match[1][0], match[1][0]) + match[1][1:]
        self.found.starts.append(len(self.found.values))
        self.found.abscissae.append(float(text))
        self.found.roundings.append(_value_of_last_digit(text))
        self.found.lines.append(self._number)
        return line[match.end() :]

    def _take(
        self, plain: str | None, letter: str | None, digits: str | None, *, is_first: bool
    ) -> bool:
        """Take the next number of a line, and tell whether it can stand there."""
        values = self.found.values
        if letter in _DUP:
            return not is_first and self._repeat(_DUP[letter] + (digits or ""))
        if letter in _DIF:
            self._difference = float(_DIF[letter] + (digits or ""))
            can_start = len(values) > 0 and not math.isnan(values[-1])
            if can_start:
                values.append(values[-1] + self._difference)
            return can_start
        squeezed = _SQZ[letter] + (digits or "") if letter else "nan"
        value = float(plain or squeezed)
        if is_first and self._is_checked:
            self._check(value)
        self._difference = None
        values.append(value)
        return True

    def _repeat(self, count: str) -> bool:
        """Repeat the last ordinate, or the last difference."""
        if not count.isdecimal() or len(count) > _MOST_DIGITS:
            return False
        values, times = self.found.values, int(count) - 1
        self._room.check(2, len(values) + times, self._number)
        if self._difference is None:
            values.extend(array("d", values[-1:]) * times)
            return True
        value = values[-1]
        for _ in range(times):
            value += self._difference
            values.append(value)
        return True

    def _check(self, value: float) -> None:
        """Take away the last ordinate, which `value` repeats."""
        found = self.found
        found.checks += 1
        found.starts[-1] -= 1
        computed = found.values.pop()
        if not math.isclose(computed, value, rel_tol=_CLOSE):
            found.failed += 1
            found.failed_line = found.failed_line or self._number
            self._computed = computed


def _value_of_last_digit(number: str) -> float:
    mantissa, _, exponent = number.lower().partition("e")
    power = int(exponent[:5] or 0) - len(mantissa.partition(".")[2])
    return float(10.0 ** max(-_MOST_EXPONENT, min(power, _MOST_EXPONENT)))


def read_pairs(lines: Iterable[Line], room: Room) -> FloatArray:
    """Read the lines of ``(XY..XY)``.

    Parameters
    ----------
    lines : iterable of Line
        The table, with decimal points.
    room : Room
        Asked for the numbers.

    Returns
    -------
    ndarray of shape (2, n)
        Abscissae and ordinates, not multiplied by the factors; NaN is missing.

    Raises
    ------
    InvalidTable
        A line holds something else.
    TooLarge
        There are more points than the limits allow.
    """
    values, odd = array("d"), None
    for number, text in lines:
        line, at = text.strip(), 0
        for match in _PAIRED.finditer(line):
            if match.start() != at:
                break
            values.append(float(match[1] or "nan"))
            at = match.end()
        if at != len(line):
            raise _unreadable(number, line[at:])
        room.check(2, len(values) // 2, number)
        odd = odd or (number if len(values) % 2 else None)
    if len(values) % 2:
        detail = f"Line {odd}: complete the pair; there are {len(values)} numbers, which is odd."
        raise error_from(InvalidTable, Fact(detail, "odd_pairs", line=odd))
    return np.array(values).reshape(-1, 2).T


def _unreadable(number: int, rest: str) -> InvalidTable:
    detail = f"Line {number}: correct {quote(rest[:20])}, which is no number of JCAMP-DX."
    return error_from(InvalidTable, Fact(detail, "not_a_number", line=number))
