"""Records and cells of delimited text."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from services.errors import Fact, InvalidTable, TooLarge, UnreadableFile, error_from
from services.files.text_fast import Plain
from services.files.text_pieces import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Text mode on Windows writes \r\r\n for \r\n, so this too is one line end.
LINE_END = re.compile(r"\r\r?\n|\r|\n")
"""End of a line."""

SKIPPED_LINES = 20
"""Most lines that are listed as left out."""

# Possessive, as everything that repeats here: no line may make a pattern backtrack.
_BLANK = re.compile(r'\s*+(?:"\s*+")?+\s*+')

_BLANK_CELL = re.compile(r'"[^"]*+"|[^\s"][^\s]*+|"')


class Record(NamedTuple):
    """A row as text: one line, or several if quotes hold line breaks."""

    line: int
    text: str


class Records:
    """Cuts pieces into lines, joins these to records, and keeps its place in the file."""

    def __init__(
        self, codec: str, place: tuple[int, int], marks: tuple[str, ...], longest: int, most: int
    ) -> None:
        self.codec = codec
        self._line, self._byte = place
        self._marks = marks
        self._longest = longest
        self._left = most
        self._open = False
        self.comments: list[str] = []

    @property
    def line(self) -> int:
        """The line behind the last one that was read, from 1."""
        return self._line

    def read(self, piece: Piece, following: Iterator[Piece]) -> Iterator[Record]:
        """Yield the records of a piece, and of those that follow until no quote is open.

        A record is complete when its quotes are even in number (RFC 4180). Comments are left out.
        """
        lines = self._lines(piece, following)
        for line, text in lines:
            if is_comment(text, self._marks):
                if len(self.comments) < SKIPPED_LINES:
                    self.comments.append(text)
                continue
            parts = [text]
            length, quotes = len(text), text.count('"')
            self._open = quotes % 2 == 1
            # A quote that never closes ends at the limit; cutting the cells then says so.
            while self._open and length <= self._longest and (more := next(lines, None)):
                parts.append(more[1])
                length, quotes = length + 1 + len(more[1]), quotes + more[1].count('"')
                self._open = quotes % 2 == 1
            if text.strip(" "):
                if not self._left:
                    detail = f"Line {line} is one row more than the limit of rows allows."
                    raise error_from(TooLarge, Fact(detail, "too_many_rows", line=line))
                self._left -= 1
                yield Record(line, "\n".join(parts))

    def skip(self, piece: Piece, plain: Plain) -> bool:
        """Go on behind a piece that was read as plain, unless it has more rows than allowed."""
        rows = plain.values.shape[1]
        if rows > self._left:
            return False
        self._left -= rows
        self._line += plain.lines
        self._byte += len(piece.data)
        return True

    def _lines(self, piece: Piece | None, following: Iterator[Piece]) -> Iterator[tuple[int, str]]:
        while piece is not None:
            lines = self.split(piece)
            first = self._line
            self._line += len(lines)
            self._byte += len(piece.data)
            numbered = enumerate(lines, first)
            # Millions of blank lines are no rows, unless a quote is open around them.
            is_plain = not self._open and b'"' not in piece.data
            yield from (pair for pair in numbered if pair[1]) if is_plain else numbered
            piece = next(following, None) if self._open else None

    def split(self, piece: Piece) -> list[str]:
        """Return the lines of a piece; refuse what is no text."""
        text = self._decode(piece.data)
        if "\0" in text:
            what = "it holds a NUL byte; is it text, in UTF-8, or in UTF-16 with its mark?"
            raise self._unreadable(text[: text.index("\0")], what, "nul_byte")
        if "\r" in text:
            # As `LINE_END`, but fast for millions of them; the text holds no NUL.
            for end, sign in (("\r\r\n", "\0"), ("\r\n", "\0"), ("\r", "\n"), ("\0", "\n")):
                text = text.replace(end, sign)
        lines = text.removesuffix("\n").split("\n")
        if piece.is_overlong:
            line = self._line + len(lines) - 1
            detail = f"Line {line} is longer than {self._longest} characters."
            raise error_from(TooLarge, Fact(detail, "long_line", line=line))
        return lines

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode(self.codec)
        except UnicodeDecodeError as error:
            at = self._byte + error.start
            what = f"byte {at} (from 0) is no {self.codec.upper()}; save the file as UTF-8,"
            what += " or name its encoding by encoding=."
            before = data[: error.start].decode(self.codec)
            raise self._unreadable(before, what, "undecodable") from None

    def _unreadable(self, before: str, what: str, code: str) -> UnreadableFile:
        line = self._line + sum(1 for _ in LINE_END.finditer(before))
        return error_from(
            UnreadableFile, Fact(f"Line {line} cannot be read: {what}", code, line=line)
        )


def is_comment(text: str, marks: tuple[str, ...]) -> bool:
    """Tell whether a line begins with one of the marks of comments."""
    return text.lstrip().startswith(marks)


def find_marks(lines: Iterable[str], marks: tuple[str, ...]) -> str | None:
    """Return the marks with which some of the lines begin, with blanks between; None for none."""
    found = {mark for text in lines for mark in marks if is_comment(text, (mark,))}
    return " ".join(sorted(found)) or None


def is_blank(text: str, delimiters: Iterable[str]) -> bool:
    """Tell whether a record holds no cell; one with delimiters is a row of gaps."""
    return _BLANK.fullmatch(text) is not None and not any(d in text for d in delimiters if d != " ")


@cache
def _cell_patterns(delimiter: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Make the patterns of a cell with its delimiter, and of a quote that never closes."""
    end = re.escape(delimiter)
    space = rf"[^\S\n{end}]*+"
    quoted = rf'{space}"([^"]*+(?:""[^"]*+)*+)'
    cell = re.compile(rf'(?:{quoted}"{space}|([^"{end}]*+))({end}|\Z)')
    return cell, re.compile(rf"{quoted}\Z")


def split_cells(record: Record, delimiter: str) -> list[str]:
    """Cut a record into its cells, without the quotes around them; a space is any run of blanks."""
    if delimiter == " ":
        return [cell[1:-1] if cell[0] == '"' else cell for cell in _BLANK_CELL.findall(record.text)]
    if '"' not in record.text:
        return record.text.split(delimiter)
    cell, unclosed = _cell_patterns(delimiter)
    cells, at = [], 0
    while match := cell.match(record.text, at):
        inside, plain, delimited = match.groups()
        cells.append(plain if inside is None else inside.replace('""', '"'))
        at = match.end()
        if not delimited:
            return cells
    line = record.line + record.text.count("\n", 0, at)
    detail, code = f"Line {line}: a quote opens a cell and is never closed.", "open_quote"
    if not unclosed.match(record.text, at):
        detail, code = f"Line {line}: cell {len(cells) + 1} is not quoted as a whole.", "bad_quote"
    raise error_from(InvalidTable, Fact(detail, code, line=line))


def split_loosely(record: Record, delimiter: str) -> list[str]:
    """Cut a record that holds no numbers: a quote inside a cell is a sign like others."""
    try:
        return split_cells(record, delimiter)
    except InvalidTable:
        return record.text.split(delimiter)
