"""A sheet with one curve a row: the first row is x."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from services.errors import Fact, InvalidTable, error_from
from services.files.common import ReadOptions
from services.files.sheet_head import MOST_SKIPPED, Kind, Row, SheetHead, as_text, show_row
from services.files.sheet_rows import SheetRows
from services.files.spool import Spool
from services.files.text_curves import clean_labels
from services.files.words import Gaps
from services.tables import FloatArray


class CurveRows(NamedTuple):
    """Curves of a sheet, x first.

    Parameters
    ----------
    head : SheetHead
        Where they start.
    rows : SheetRows
        How they were read.
    names : tuple of str
        Name of x, and those of the curves.
    values : ndarray of shape (curves + 1, points)
        The numbers.
    """

    head: SheetHead
    rows: SheetRows
    names: tuple[str, ...]
    values: FloatArray


def read_curve_rows(
    rows: Iterator[Row], width: int, options: ReadOptions, first_column: int
) -> CurveRows | None:
    """Read a sheet whose rows are curves.

    Parameters
    ----------
    rows : iterator of tuple
        Positions and cells of the rows.
    width : int
        Cells of each row.
    options : ReadOptions
        Options of the client, and the limits.
    first_column : int
        Position in the sheet of the first cell of a row.

    Returns
    -------
    CurveRows or None
        None if there is no row of numbers, which would be x.

    Raises
    ------
    InvalidTable
        A cell is no number, or a name cannot be used.
    """
    found = _find_x(rows, Gaps(options.gap))
    if found is None:
        return None
    head, x = found
    labelled = int(head.names is not None)
    labels: list[str] = []
    spool = Spool(max(1, width - labelled), memory_bytes=options.limits.max_sheet_bytes)
    names = [f"#{at + 1}" for at in range(labelled, width)]
    reader = SheetRows(head, names, spool, options, first_column=first_column + labelled, read=None)
    reader.read(_cut(x, rows, labelled, labels))
    values = spool.read(0, spool.columns).T
    if reader.ended is None:
        # Behind the last curve, a label alone is a note.
        reader.skipped += [label for label in labels[len(values) :] if label][:MOST_SKIPPED]
    labels = (
        labels[: len(values)] if labelled else ["x", *(f"y{at}" for at in range(1, len(values)))]
    )
    kept = [at for at, row in enumerate(values) if labels[at] or not np.isnan(row).all()]
    # Columns without a number beside the table are no points.
    values = values[kept][:, ~np.isnan(values[kept]).all(axis=0)]
    return CurveRows(head, reader, clean_labels([labels[at] for at in kept]), values)


def _find_x(rows: Iterable[Row], gaps: Gaps) -> tuple[SheetHead, Row] | None:
    """Find the first row of numbers, whose first cell may be a word."""
    skipped: list[str] = []
    for row, cells in rows:
        kind = Kind(cells[1:], gaps)
        if kind.numbers and not kind.words:
            label = as_text(cells[0])
            has_label = 0 not in Kind(cells[:1], gaps).numbers
            head = SheetHead(row, (label,) if has_label else None, skipped=tuple(skipped))
            return head, (row, cells)
        if len(skipped) < MOST_SKIPPED and (shown := show_row(cells)):
            skipped.append(shown)
    return None


def _cut(x: Row, rows: Iterator[Row], labelled: int, labels: list[str]) -> Iterator[Row]:
    """Yield all rows from that of x on, without their labels."""
    for row, cells in chain([x], rows):
        if labelled:
            labels.append(as_text(cells[0]))
        yield row, cells[labelled:]


def refuse_no_x() -> InvalidTable:
    """Make the error for a sheet without a row of numbers."""
    detail = "Leave out layout=rows: there is no row of numbers, which would be x."
    return error_from(InvalidTable, Fact(detail, "no_rows"))
