"""The beginning of a text: where the table starts, its delimiter, names and units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, dropwhile, islice, takewhile
from math import inf

from services.errors import Fact, InvalidTable, error_from
from services.files.common import ReadOptions
from services.files.finding import X_AND_CURVE, count_filled, find_titles, refuse_nameless, trim
from services.files.text_lines import Line, Lines, TableStart, join_quoted
from services.files.text_records import (
    SKIPPED_LINES,
    Record,
    find_marks,
    is_blank,
    is_comment,
    split_cells,
    split_loosely,
)
from services.files.words import Gaps, Thousands, are_numbers, is_gap, is_like_number, is_number

COMMENTS = ("#", "%", "//", "!", ";", "'")
"""Characters with which comments begin."""

_SKIPPED_CHARACTERS = 200
_EARLY_LINES = 200
_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)


class Head:
    """The records at the beginning of a text.

    Parameters
    ----------
    text : str
        Whole lines, at least two of the table if it has them.
    options : ReadOptions
        Options of the client.
    candidates : sequence of str
        Delimiters that are looked for.
    may_be_blanks : bool
        Whether blanks may part the cells.
    """

    def __init__(
        self, text: str, options: ReadOptions, candidates: Sequence[str], *, may_be_blanks: bool
    ) -> None:
        self._options = options
        self._gaps = Gaps(options.gap)
        self._thousands = Thousands(options.thousands) if options.thousands else None
        lines = join_quoted(text)
        begin, end = options.first_line or 0, options.last_line or inf
        self._separator: Line | None = None
        if options.first_line is None and (line := next(lines, None)):
            if match := _SEPARATOR.fullmatch(line.record.text.strip(' "')):
                candidates = match[1] if options.delimiter is None else candidates
                self._separator = line
            else:
                lines = chain([line], lines)
        lines = dropwhile(lambda line: line.record.line < begin, lines)
        self.lines = Lines(takewhile(lambda line: line.record.line <= end, lines))
        self.candidates = tuple(candidates)
        self._found = {delimiter for delimiter in self.candidates if delimiter in text} | {" "}
        self._may_be_blanks = may_be_blanks and (" " in text or "\t" in text)
        self._marks: dict[str, tuple[str, ...]] = {}

    def marks(self, delimiter: str) -> tuple[str, ...]:
        """Return the characters with which comments begin."""
        if delimiter not in self._marks:
            self._marks[delimiter] = comment_marks(self._options, delimiter)
        return self._marks[delimiter]

    def find(self) -> TableStart | None:
        """Find a block of numbers, and the names above it; None if there is none."""
        if self._options.layout == "rows":
            return self._find_rows()
        found = self._find_blocks()
        if self._options.delimiter is None and self._may_be_blanks:
            # A blank inside a cell must not part it, so one row is enough only if nothing else is.
            most = min(found.values()) + 2 if found else None
            at = self._find_block(" ", most, least=1 + bool(found))
            if at is not None and at < min(found.values(), default=inf):
                found = {" ": at}
        if not found:
            return None
        first = min(found.values())
        best = [delimiter for delimiter, at in found.items() if at == first]
        if len(best) > 1:
            best = [d for d in best if self._has_names(first, d)] or best
        if len(best) > 1:
            raise _ambiguous(self.lines[first].record.line, best)
        return None if self._begins_plainly(best[0]) else self._start_at(first, best[0])

    def _find_blocks(self) -> dict[str, int]:
        """Return where a block begins by each delimiter; one behind another may be left out."""
        # A block in the first lines is that of the table, and ends the search by the others.
        early = [self._find_block(d, _EARLY_LINES, least=2) for d in self.candidates]
        bound = min((at for at in early if at is not None), default=inf)
        blocks = {d: self._find_block(d, bound=bound) for d in self.candidates}
        return {d: at for d, at in blocks.items() if at is not None}

    def _has_names(self, first: int, delimiter: str) -> bool:
        """Tell whether the line above a row has as many cells."""
        rows = (self.lines[at].record for at in (first - 1, first) if at >= 0)
        widths = {len(split_loosely(record, delimiter)) for record in rows}
        return first > 0 and len(widths) == 1

    def _begins_plainly(self, delimiter: str) -> bool:
        """Tell whether the first line holds names, and the second one begins with a number."""
        filled = (line.record for line in self.lines if not self._is_left_out(line, (delimiter,)))
        first, second = next(filled), next(filled, None)
        if second is None or self._options.header == "absent":
            return False
        names, row = split_loosely(first, delimiter), split_loosely(second, delimiter)
        is_row = (
            bool(row) and is_like_number(row[0]) and not self._width_of_numbers(second, delimiter)
        )
        return is_row and len(names) > 1 and not any(map(is_like_number, names))

    def _find_rows(self) -> TableStart | None:
        """Find the first row, which is x; its first cell may be a word."""
        delimiters = (*self.candidates, *(() if self._options.delimiter else (" ",)))
        for at, line in enumerate(self.lines):
            for delimiter in delimiters:
                if self._is_left_out(line, (delimiter,)):
                    continue
                cells = split_loosely(line.record, delimiter)
                if len(cells) > 1 and all(map(self._is_number, cells[1:])):
                    names = None if self._is_number(cells[0]) else cells[:1]
                    place = line.record.line, line.start
                    start = TableStart(delimiter, len(cells), *place, names=names)
                    return self._with_skipped(start, range(at))
        return None

    def _find_block(
        self, delimiter: str, most: int | None = None, least: int = 1, bound: float = inf
    ) -> int | None:
        """Return the position of the first of two rows of numbers of one width, or of any.

        A row that is as wide may stand above words. Only the first `most` lines count, and one row
        is enough only if `least` is 1. A block behind `bound` may be left out.
        """
        if delimiter not in self._found:
            return None
        single: tuple[int, int] | None = None
        before: tuple[int, int] | None = None
        for at, line in enumerate(islice(self.lines, most)):
            rows = [row for row in (single, before) if row is not None]
            if at > bound and not any(row[0] <= bound for row in rows):
                break
            if self._is_left_out(line, (delimiter,)):
                continue
            width = self._width_of_numbers(line.record, delimiter)
            if width and before is not None and before[1] == width:
                return single[0] if single is not None and single[1] == width else before[0]
            before = (at, width) if width else None
            if width and least == 1 and not self._may_be_cut(line.record.text, delimiter):
                single = single or before
        return None if single is None else single[0]

    def _may_be_cut(self, text: str, delimiter: str) -> bool:
        """Tell whether a line that blanks would part holds another delimiter."""
        return delimiter == " " and any(d in text for d in self.candidates if d != " ")

    def _width_of_numbers(self, record: Record, delimiter: str) -> int:
        """Return the number of cells of a row of numbers, 0 for another row."""
        if delimiter not in record.text and delimiter != " ":
            return 0
        try:
            cells = split_cells(record, delimiter)
        except InvalidTable:
            return 0
        # A tab between cells is no blank around one.
        if any("\t" in cell for cell in cells[:-1]):
            return 0
        numbers = 0
        for cell in cells:
            if self._is_number(cell):
                numbers += 1
            elif not self._gaps.has(cell):
                return 0
        return len(cells) if len(cells) > 1 and numbers else 0

    def _is_number(self, cell: str) -> bool:
        text = cell.strip()
        return is_number(self._thousands.remove(text) if self._thousands else text)

    def _start_at(self, first: int, delimiter: str) -> TableStart | None:
        """Describe the table whose first sure row of numbers is at a position."""
        row = split_cells(self.lines[first].record, delimiter)
        above: list[int] = []
        for at in range(first - 1, -1, -1):
            record = self.lines[at].record
            if self._is_left_out(self.lines[at], (delimiter,)):
                if above:
                    break
                continue
            cells = trim(split_loosely(record, delimiter), row)
            # A title has one cell, the first; names have more.
            is_title = not "".join(cells[1:]).strip() and (above or not _is_numeric(cells[0]))
            if len(cells) != len(row) or is_title:
                break
            if not above and (is_like_number(cells[0]) or all(map(_is_numeric, cells))):
                first = at  # a row of gaps, or with a cell that is refused later
            else:
                above.append(at)
        return self._describe(first, above, delimiter, row)

    def _describe(
        self, first: int, above: list[int], delimiter: str, row: Sequence[str]
    ) -> TableStart | None:
        width = len(row)
        rows = [trim(split_loosely(self.lines[at].record, delimiter), row) for at in above]
        lines = [self.lines[at].record.line for at in above]
        found = find_titles(rows, lines, self._options)
        line = self.lines[first]
        start = TableStart(delimiter, width, line.record.line, line.start)
        kept: set[int] = set()
        if found.names is not None:
            kept = {above[found.names]}
            start = replace(start, names=rows[found.names], names_line=lines[found.names])
            if found.units is not None:
                kept.add(above[found.units])
                start = replace(start, units=rows[found.units])
        elif self._has_other_header(first, delimiter):
            return None
        elif self._options.header == "present":
            cells = split_cells(line.record, delimiter)
            start = replace(self._behind(line, start), names=cells)
        elif commented := self._commented_names(first, delimiter, width):
            kept = {first - 1}
            start = replace(start, names=commented, names_line=self.lines[first - 1].record.line)
        is_nameless = (
            start.names is None
            and count_filled(row) != X_AND_CURVE
            and self._options.header == "auto"
        )
        skipped = [at for at in range(first) if at not in kept]
        self._refuse_numbers(skipped, start, is_nameless=is_nameless)
        if is_nameless:
            raise refuse_nameless(line.record.line)
        return self._with_skipped(replace(start, warnings=found.warnings), skipped)

    def _behind(self, line: Line, start: TableStart) -> TableStart:
        """Start behind a record, which holds the names."""
        after = line.record.line + line.record.text.count("\n") + 1
        return replace(start, line=after, place=line.end, names_line=line.record.line)

    def _refuse_numbers(
        self, skipped: Sequence[int], start: TableStart, *, is_nameless: bool
    ) -> None:
        """Refuse rows of numbers above the table; name every option that it needs."""
        for at in skipped:
            record = self.lines[at].record
            marks = self.marks(start.delimiter)
            if not is_comment(record.text, marks) and are_numbers(record.text):
                too = " and header=absent" if is_nameless else ""
                detail = f"Say first_line={start.first_line}{too} if the table starts there: line"
                detail += f" {record.line} holds numbers, but not as many as the rows below."
                fact = Fact(detail, "two_tables", line=record.line, parameter="first_line")
                raise error_from(InvalidTable, fact)

    def _has_other_header(self, first: int, delimiter: str) -> bool:
        """Tell whether the first line is a header of another width or delimiter."""
        if self._options.header == "absent" or self._separator:
            return False
        filled = [at for at in range(first) if self.lines[at].record.text.strip()]
        if len(filled) != 1:
            return False
        record = self.lines[filled[0]].record
        if is_comment(record.text, self.marks(delimiter)):
            return False
        width = len(split_cells(self.lines[first].record, delimiter))
        widths = {d: len(split_loosely(record, d)) for d in self.candidates if d in record.text}
        return widths.pop(delimiter, 0) > 1 or width in widths.values()

    def _commented_names(self, first: int, delimiter: str, width: int) -> list[str] | None:
        """Return the names in a comment directly above the numbers, if they are as many."""
        if first == 0 or self._options.header == "absent":
            return None
        record = self.lines[first - 1].record
        text = record.text.strip()
        mark = next((m for m in self.marks(delimiter) if text.startswith(m)), None)
        if mark is None:
            return None
        cells = split_loosely(record._replace(text=text.lstrip(mark)), delimiter)
        are_names = len(cells) == width and all(cell.strip() for cell in cells)
        return cells if are_names and not any(map(is_like_number, cells)) else None

    def _with_skipped(self, start: TableStart, places: Sequence[int]) -> TableStart:
        """Add the lines that were left out."""
        marks = self.marks(start.delimiter)
        lines = [self.lines[at].record.text for at in places]
        if self._separator:
            lines.insert(0, self._separator.record.text)
        filled = [text for text in lines if text.strip()]
        upto = takewhile(lambda line: line.record.line <= (start.names_line or 0), self.lines)
        titles = [line.record.text for line in upto if line.record.line == start.names_line]
        shown = tuple(text[:_SKIPPED_CHARACTERS] for text in filled[:SKIPPED_LINES])
        return replace(start, skipped=shown, comment=find_marks(filled + titles, marks))

    def start_plainly(self) -> TableStart:
        """Take the first line for names and the second for numbers, for want of a block."""
        delimiters = self.candidates
        if self._options.layout == "rows":
            detail = "Leave out layout=rows: there is no row of numbers, which would be x."
            raise error_from(InvalidTable, Fact(detail, "no_rows"))
        filled = [line for line in self.lines if not self._is_left_out(line, delimiters)]
        if not filled:
            raise error_from(InvalidTable, Fact("The file is empty.", "no_rows"))
        first = filled[0]
        delimiter = _find_delimiter(
            first.record, filled[min(1, len(filled) - 1)].record, delimiters
        )
        cells = split_cells(first.record, delimiter)
        if self._options.header == "absent":
            start = TableStart(delimiter, len(cells), first.record.line, first.start)
        elif self._options.header == "auto" and all(map(_is_numeric, cells)):
            if len(cells) != X_AND_CURVE:
                raise refuse_nameless(first.record.line)
            start = TableStart(delimiter, len(cells), first.record.line, first.start)
        else:
            start = self._behind(first, TableStart(delimiter, len(cells), 0, 0, cells))
        places = [at for at, line in enumerate(self.lines) if line.start < first.start]
        return self._with_skipped(start, places)

    def _is_left_out(self, line: Line, delimiters: Sequence[str]) -> bool:
        text = line.record.text
        # The cheaper question first: there are as many answers as lines and delimiters.
        return is_comment(text, self.marks("".join(delimiters))) or is_blank(text, delimiters)


def comment_marks(options: ReadOptions, delimiter: str) -> tuple[str, ...]:
    """Return the characters with which comments begin.

    Parameters
    ----------
    options : ReadOptions
        Options of the client.
    delimiter : str
        The delimiter, which begins no comment.

    Returns
    -------
    tuple of str
    """
    if options.comment:
        return (options.comment,)
    return tuple(mark for mark in COMMENTS if mark not in delimiter)


def _find_delimiter(first: Record, sample: Record, candidates: Sequence[str]) -> str:
    """Choose the delimiter in the first line; of several, the one that makes the sample a row."""
    unquoted = re.sub(r'"[^"]*+"', "", first.text)
    found = [delimiter for delimiter in candidates if delimiter in unquoted]
    if not found:
        split_cells(first, candidates[0])  # a quote that never closes may hide the delimiter
        known = " ".join(map(repr, candidates))
        detail = "Name the delimiter by delimiter=, or where the table starts by first_line=: line"
        detail += f" {first.line} has one cell only; cells are parted by one of {known} or blanks."
        raise error_from(InvalidTable, Fact(detail, "one_column", line=first.line))
    fitting = found if len(found) == 1 else [d for d in found if _fits(first, sample, d)]
    if len(fitting) != 1:
        raise _ambiguous(first.line, found)
    return fitting[0]


def _ambiguous(line: int, found: Sequence[str]) -> InvalidTable:
    shown = " and ".join(map(repr, found))
    detail = f"Say delimiter=: line {line} holds {shown}; which one parts the cells is not clear."
    return error_from(InvalidTable, Fact(detail, "ambiguous_delimiter", line=line))


def _fits(first: Record, sample: Record, delimiter: str) -> bool:
    """Tell whether a delimiter makes the sample as many numbers and gaps as there are names."""
    try:
        width, cells = len(split_cells(first, delimiter)), split_cells(sample, delimiter)
    except InvalidTable:
        return False
    return len(cells) == width and all(map(_is_numeric, cells))


def _is_numeric(cell: str) -> bool:
    """Tell whether a cell is a gap or was meant as a number, accepted or not."""
    return is_gap(cell) or is_like_number(cell)
