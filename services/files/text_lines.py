"""The first lines of a text, and the place where its table starts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from services.files.text_records import LINE_END, Record
from services.tables import TableWarning

_QUOTED_LINES = 20
"""Most lines of a cell in quotes, in the beginning of a text."""

_FILLED = re.compile(r"[^\r\n]++")
"""A line that is not empty."""


@dataclass(frozen=True, slots=True)
class TableStart:
    """The place where the numbers of a table start, and the rows above them.

    Parameters
    ----------
    delimiter : str
        Character between the cells; a space stands for any run of blanks.
    width : int
        Cells of each row.
    line : int
        Line of the first row of numbers, from 1.
    place : int
        Position of its first character.
    names, units : list of str or None
        Cells of the rows of names and units.
    names_line : int or None
        Line of the names.
    skipped : tuple of str
        The first lines that were left out.
    comment : str or None
        Characters of comments that were found.
    warnings : tuple of TableWarning
        Other readings.
    """

    delimiter: str
    width: int
    line: int
    place: int
    names: list[str] | None = None
    units: list[str] | None = None
    names_line: int | None = None
    skipped: tuple[str, ...] = ()
    comment: str | None = None
    warnings: tuple[TableWarning, ...] = ()

    @property
    def first_line(self) -> int:
        """First line of the table, with its names."""
        return self.names_line or self.line


class Line(NamedTuple):
    """A record, and the positions of its first character and of the one behind it."""

    record: Record
    start: int
    end: int


class Lines(Sequence[Line]):
    """Lines that are cut from a text when they are asked for: mostly the first few are enough."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._rest = lines
        self._cut: list[Line] = []

    def __getitem__(self, at: Any) -> Any:
        """Return one line; a slice would cut all of them."""
        if not self._reach(at):
            raise IndexError(at)
        return self._cut[at]

    def __iter__(self) -> Iterator[Line]:
        """Yield the lines, from the first."""
        at = 0
        while self._reach(at):
            yield self._cut[at]
            at += 1

    def __len__(self) -> int:
        """Return their number, for which all are cut."""
        self._cut += self._rest
        return len(self._cut)

    def _reach(self, at: int) -> bool:
        self._cut += islice(self._rest, max(0, at + 1 - len(self._cut)))
        return at < len(self._cut)


def join_quoted(text: str) -> Iterator[Line]:
    """Cut a text into records that are not empty; a quote that stays open opens nothing."""
    has_quotes, has_returns = '"' in text, "\r" in text
    line, behind = 1, 0
    for start, stop in _find_records(text) if has_quotes else _find_filled(text):
        line += _count_ends(text, behind, start, has_returns=has_returns)
        cut, behind = text[start:stop], stop
        if has_quotes:
            cut = LINE_END.sub("\n", cut)
        end = LINE_END.match(text, stop)
        yield Line(Record(line, cut), start, end.end() if end else stop)
        line += cut.count("\n")


def _find_filled(text: str) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each line that is not empty."""
    return (match.span() for match in _FILLED.finditer(text))


def _find_records(text: str) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each record, which are several lines where a quote is open."""
    spans, at = list(_find_filled(text)), 0
    while at < len(spans):
        last = _close_quotes(text, spans, at)
        yield spans[at][0], spans[last][1]
        at = last + 1


def _count_ends(text: str, start: int, stop: int, *, has_returns: bool) -> int:
    if not has_returns:
        return text.count("\n", start, stop)
    return sum(1 for _ in LINE_END.finditer(text, start, stop))


def _close_quotes(text: str, spans: Sequence[tuple[int, int]], at: int) -> int:
    """Return the line in which the quotes of a line are closed, or that line itself."""
    start, stop = spans[at]
    if text.count('"', start, stop) % 2 == 0:
        return at
    for last in range(at + 1, min(at + _QUOTED_LINES, len(spans))):
        if text.count('"', start, spans[last][1]) % 2 == 0:
            return last
    return at
