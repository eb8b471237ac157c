"""Plain lines, read all at once.

Nearly every line of nearly every file is plain: numbers by the grammar of `services.files.text`,
gaps, delimiters, and perhaps quotes or spaces around a cell. The places of the delimiters then give
the cells, and Arrow converts all of them in one call. It accepts exactly the numbers of that
grammar, with the bits of float(), and the words of infinity and NaN, which are found afterwards.
Anything else in a line fails the whole piece, which is then read cell by cell.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from services.grids import BoolArray, IndexArray
from services.tables import FloatArray

_LINE_FEED = 10
_QUOTE = 34
_PLUS = 43

_LINE_END = re.compile(rb"\r\r?\n|\r")
# With a delimiter on at least one side: a word alone in its line is a row of one cell.
_GAP = re.compile(
    rb"(?<=[,;\t|])(?i:nan|na|null|none)(?=[,;\t|\n])"
    rb"|(?<![^\n])(?i:nan|na|null|none)(?=[,;\t|])"
)
# Words for gaps that are so rare that they are looked for only if a piece is not plain otherwise.
_RARE_GAP = re.compile(
    rb"(?<=[,;\t|])(?i:--?|#?n/a|-nan|-?1\.#(?:qnan|ind))(?=[,;\t|\n])"
    rb"|(?<![^\n])(?i:--?|#?n/a|-nan|-?1\.#(?:qnan|ind))(?=[,;\t|])"
)
_BLANKS = re.compile(rb"[ \t]++")
# Possessive, and never begun inside a run of spaces, so that no run is searched twice.
_SPACES = re.compile(rb"(?<! ) ++(?=[,;\t|\n])|(?<=[,;\t|\n]) ++|\A ++")


class Plain(NamedTuple):
    """Numbers of plain lines.

    Parameters
    ----------
    values : ndarray of shape (c, n)
        The numbers; NaN is a gap.
    lines : int
        Number of lines, blank ones included.
    decimal : str or None
        The decimal mark; None if no number has one.
    """

    values: FloatArray
    lines: int
    decimal: str | None


def read_plain(piece: bytes, codec: str, delimiter: str, columns: int) -> Plain | None:
    """Read whole lines, if they are plain.

    Parameters
    ----------
    piece : bytes
        The lines; they must not begin inside quotes.
    codec : str
        Their encoding.
    delimiter : str
        Character between the cells.
    columns : int
        Cells of each row.

    Returns
    -------
    Plain or None
        The same as reading cell by cell gives; None if a line is not plain.
    """
    text = _normalize(piece, codec)
    if text is None:
        return None
    if delimiter == " ":
        if b'"' in text:
            return None
        text, delimiter = _join_blanks(text), "\t"
    decimal = "." if b"." in text else None
    if delimiter != "," and b"," in text:
        if decimal is not None:
            return None
        text, decimal = text.replace(b",", b"."), ","
    bare = _strip(text, delimiter)
    values = None if bare is None else _convert_lines(bare, delimiter, columns)
    if values is None:
        # Blank lines are so rare that they are looked for only now.
        bare = None if bare is None else _remove_rare(bare)
        values = None if bare is None else _convert_lines(bare, delimiter, columns)
    if values is None:
        return None
    lines = values.shape[1] if bare is text else text.count(b"\n")
    return Plain(values, lines, decimal)


def _normalize(piece: bytes, codec: str) -> bytes | None:
    """Return the lines as UTF-8, each ended by a line feed."""
    if codec != "utf-8":
        try:
            piece = piece.decode(codec).encode()
        except UnicodeError:
            return None
    if b"\r" in piece:
        # The pattern does the same, but slowly; it is needed only if two returns stand together.
        if b"\r\r" in piece:
            piece = _LINE_END.sub(b"\n", piece)
        else:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return piece if piece.endswith(b"\n") else piece + b"\n"


def _strip(text: bytes, delimiter: str) -> bytes | None:
    """Remove quotes, spaces and words for gaps, so that numbers and delimiters are left."""
    if b'"' in text:
        unquoted = _unquote(text, delimiter)
        if unquoted is None:
            return None
        text = unquoted
    if b" " in text:
        text = _SPACES.sub(b"", text)
    if b"n" in text or b"N" in text:
        text = _GAP.sub(b"", text)
    return text


def _join_blanks(text: bytes) -> bytes:
    """Put one tab between the cells of lines whose cells are parted by blanks."""
    text = _BLANKS.sub(b"\t", text).replace(b"\n\t", b"\n").replace(b"\t\n", b"\n")
    return text.removeprefix(b"\t")


def _remove_rare(text: bytes) -> bytes | None:
    """Remove blank lines and rare words for gaps; None if there are none."""
    bare = _RARE_GAP.sub(b"", text)
    while b"\n\n" in bare:
        bare = bare.replace(b"\n\n", b"\n")
    bare = bare.removeprefix(b"\n")
    return None if bare == text else bare


def _unquote(text: bytes, delimiter: str) -> bytes | None:
    """Remove the quotes; None unless each pair holds exactly one cell of a row."""
    characters = np.frombuffer(b"\n" + text, np.uint8)
    quotes = np.flatnonzero(characters == _QUOTE)
    ends = characters == _LINE_FEED
    borders = ends | (characters == ord(delimiter))
    opening, closing = quotes[::2], quotes[1::2]
    if (
        len(opening) != len(closing)
        or not borders[opening - 1].all()
        or not borders[closing + 1].all()
        or (ends[opening - 1] & ends[closing + 1]).any()  # a line of one cell; it may be blank
        or (np.searchsorted(quotes, np.flatnonzero(borders)) % 2).any()
    ):
        return None
    return text.replace(b'"', b"")


def _convert_lines(text: bytes, delimiter: str, columns: int) -> FloatArray | None:
    """Convert lines of numbers and delimiters alone, to shape (c, n)."""
    characters = np.frombuffer(text, np.uint8)
    if delimiter in "\t,":
        # No character of a number comes before them, except the plus before the comma.
        borders = np.flatnonzero(characters <= max(ord(delimiter), _LINE_FEED))
    else:
        borders = np.flatnonzero((characters == _LINE_FEED) | (characters == ord(delimiter)))
    found = characters[borders]
    if b"+" in text and delimiter == ",":
        borders, found = borders[found != _PLUS], found[found != _PLUS]
    expected = np.full(columns, ord(delimiter), np.uint8)
    expected[-1] = _LINE_FEED
    if not len(found) or len(found) % columns or (found.reshape(-1, columns) != expected).any():
        return None
    return _convert_cells(text, borders, len(found) // columns)


def _convert_cells(text: bytes, borders: IndexArray, rows: int) -> FloatArray | None:
    """Convert the cells that end at the borders."""
    # Every second string is a cell, and the border between two cells is a null string. So Arrow
    # takes the text as it is, and no cell is copied.
    places = np.zeros(2 * len(borders) + 1, np.int32)
    places[1::2] = borders
    np.add(borders, 1, out=places[2::2], casting="unsafe")
    gaps: BoolArray = places[1::2] == places[:-1:2]
    n_gaps = int(np.count_nonzero(gaps))
    cells = pa.StringArray.from_buffers(
        2 * len(borders),
        pa.py_buffer(places),
        pa.py_buffer(text),
        pa.py_buffer(_mark_valid(gaps, n_gaps)),
        len(borders) + n_gaps,
    )
    try:
        numbers = cells.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    values = np.frombuffer(numbers.buffers()[1], np.float64, 2 * len(borders))[::2].copy()
    if n_gaps:
        values[gaps] = np.nan
    if np.count_nonzero(np.isfinite(values)) != len(values) - n_gaps:
        return None
    return values.reshape(rows, -1).T


def _mark_valid(gaps: BoolArray, n_gaps: int) -> bytes:
    """Make one bit for each string, from the lowest: set for cells that are not gaps."""
    if not n_gaps:
        return b"\x55" * (len(gaps) // 4 + 1)
    valid = np.zeros(2 * len(gaps), np.bool_)
    np.logical_not(gaps, out=valid[::2])
    return np.packbits(valid, bitorder="little").tobytes()
