"""Lines of plain numbers, read at once.

Nearly every line of nearly every file is plain: numbers as the grammar of `services.files.text`
has them, gaps, delimiters, and perhaps quotes or spaces around a cell. Then the places of the
delimiters give the cells, and Arrow converts them all in one call. It takes exactly the numbers of
that grammar, with the bits of float(), and the words of infinity and NaN, which are seen
afterwards. Whatever else a line may hold makes the whole piece fail here, and it is read with care.
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
# With a delimiter on one side at least: a word alone in its line is a row of one cell.
_GAP = re.compile(
    rb"(?<=[,;\t|])(?i:nan|na|null|none)(?=[,;\t|\n])"
    rb"|(?<![^\n])(?i:nan|na|null|none)(?=[,;\t|])"
)
# Possessive, and never begun inside a run: no row of spaces is looked at again and again.
_SPACES = re.compile(rb"(?<! ) ++(?=[,;\t|\n])|(?<=[,;\t|\n]) ++|\A ++")


class Plain(NamedTuple):
    """What plain lines hold.

    Parameters
    ----------
    values : ndarray of shape (c, n)
        Their numbers; NaN is a gap.
    lines : int
        How many lines there are, blank ones among them.
    decimal : str or None
        The decimal mark; None where no number has one.
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
        What parts the cells.
    columns : int
        Cells of each row.

    Returns
    -------
    Plain or None
        What reading with care gives too; None where care is needed.
    """
    text = _normal(piece, codec)
    if text is None:
        return None
    decimal = "." if b"." in text else None
    if delimiter != "," and b"," in text:
        if decimal is not None:
            return None
        text, decimal = text.replace(b",", b"."), ","
    bare = _bare(text, delimiter)
    values = None if bare is None else _values(bare, delimiter, columns)
    if values is None:
        # Blank lines are so rare that they are looked for only now.
        bare = None if bare is None else _without_blank_lines(bare)
        values = None if bare is None else _values(bare, delimiter, columns)
    if values is None:
        return None
    lines = values.shape[1] if bare is text else text.count(b"\n")
    return Plain(values, lines, decimal)


def _normal(piece: bytes, codec: str) -> bytes | None:
    """UTF-8 with line feeds only, the last line ended too."""
    if codec != "utf-8":
        try:
            piece = piece.decode(codec).encode()
        except UnicodeError:
            return None
    if b"\r" in piece:
        # What the pattern does, at once where no two returns stand together.
        if b"\r\r" in piece:
            piece = _LINE_END.sub(b"\n", piece)
        else:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return piece if piece.endswith(b"\n") else piece + b"\n"


def _bare(text: bytes, delimiter: str) -> bytes | None:
    """Leave out what stands around numbers: quotes, spaces, words for gaps."""
    if b'"' in text:
        unquoted = _unquoted(text, delimiter)
        if unquoted is None:
            return None
        text = unquoted
    if b" " in text:
        text = _SPACES.sub(b"", text)
    if b"n" in text or b"N" in text:
        text = _GAP.sub(b"", text)
    return text


def _without_blank_lines(text: bytes) -> bytes | None:
    """None where there are no such lines."""
    if not text.startswith(b"\n") and b"\n\n" not in text:
        return None
    while b"\n\n" in text:
        text = text.replace(b"\n\n", b"\n")
    return text.removeprefix(b"\n")


def _unquoted(text: bytes, delimiter: str) -> bytes | None:
    """Leave out the quotes, if each pair of them holds one cell of a row and nothing but it."""
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


def _values(text: bytes, delimiter: str, columns: int) -> FloatArray | None:
    """Numbers of bare lines, shape (c, n)."""
    characters = np.frombuffer(text, np.uint8)
    if delimiter in "\t,":
        # No character of a number is before them, but the plus before the comma.
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
    return _converted(text, borders, len(found) // columns)


def _converted(text: bytes, borders: IndexArray, rows: int) -> FloatArray | None:
    """Cells that end at the borders, as numbers."""
    # Every second string is a cell, and the border between two cells is a string that is null.
    # So the text serves as it is, where one string after the other had to be copied together.
    places = np.zeros(2 * len(borders) + 1, np.int32)
    places[1::2] = borders
    np.add(borders, 1, out=places[2::2], casting="unsafe")
    gaps: BoolArray = places[1::2] == places[:-1:2]
    n_gaps = int(np.count_nonzero(gaps))
    cells = pa.StringArray.from_buffers(
        2 * len(borders),
        pa.py_buffer(places),
        pa.py_buffer(text),
        pa.py_buffer(_valid(gaps, n_gaps)),
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


def _valid(gaps: BoolArray, n_gaps: int) -> bytes:
    """One bit for each string, from the lowest: cells that are no gaps, and no border."""
    if not n_gaps:
        return b"\x55" * (len(gaps) // 4 + 1)
    valid = np.zeros(2 * len(gaps), np.bool_)
    np.logical_not(gaps, out=valid[::2])
    return np.packbits(valid, bitorder="little").tobytes()
