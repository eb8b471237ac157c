"""The XML of a workbook, searched before it is read: its sizes, and cells that no reader may miss.

calamine reads cells that hold an error such as #DIV/0!, and formulas that no program has computed,
as empty, and it does not tell which rows are hidden.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from services.errors import Fact, TooLarge, UnreadableFile, error_from
from services.files.limits import ReadLimits

_WORKBOOK, _RELATIONS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
_DIRECTORY_BYTES = 1 << 20
"""Size of the workbook's list of sheets, which is read at once."""

CHUNK_BYTES = 1 << 20
"""Bytes that are searched at once."""

_MOST_MEMBERS = 10_000

MOST_CELLS = 10_000
"""Most cells of a kind that are kept."""

_LONGEST_CELL = 1 << 16
"""Bytes of a cell with a formula; longer ones are not searched."""

# No attribute and no text holds "<", so each match ends at the next one.
_FORMULA = rb"""<(?:\w+:)?f\b[^<>]*(?:/>|>[^<>]*</(?:\w+:)?f\s*>)"""
_ERROR = re.compile(
    rb"""<(?:\w+:)?c\b[^<>]*?\st\s*=\s*["']e["'][^<>]*>"""
    rb"""(?:(?:\s*""" + _FORMULA + rb""")?\s*<(?:\w+:)?v\s*>([^<>]*)<)?"""
)
_WITHOUT_VALUE = re.compile(
    rb"""<(?:\w+:)?c\b(?![^<>]*\st\s*=\s*["']str["'])[^<>]*>\s*"""
    + _FORMULA
    + rb"""\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v\s*>\s*</(?:\w+:)?v\s*>)?\s*</(?:\w+:)?c\s*>"""
)
_COMPUTED = re.compile(
    rb"""<(?:\w+:)?c\b[^<>]*>\s*""" + _FORMULA + rb"""\s*<(?:\w+:)?v\s*>([^<>]+)<"""
)
_HIDDEN = re.compile(rb"""<(?:\w+:)?row\b[^<>]*?\shidden\s*=\s*["'](?:1|true)["'][^<>]*>""")
_ROW = re.compile(rb"""\sr=["']([0-9]{1,7})["']""")
_COLUMNS = re.compile(rb"<(?:\w+:)?col\s[^<>]*>")
_IS_HIDDEN = re.compile(rb"""\shidden\s*=\s*["'](?:1|true)["']""")
_BOUND = re.compile(rb"""\s(?:min|max)\s*=\s*["']([0-9]{1,5})["']""")
_COMPUTES_ALL = re.compile(
    rb"""<(?:\w+:)?calcPr\b[^<>]*?\sfullCalcOnLoad\s*=\s*["'](?:1|true)["']"""
)
_PLACE = re.compile(rb"""\sr=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_SHEET = re.compile(rb"""<(?:\w+:)?sheet\b[^>]*?\s\w+:id=["']([^"']*)["']""")
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\b[^>]*>")
_ID, _TARGET = re.compile(rb"""\sId=["']([^"']*)["']"""), re.compile(rb"""\sTarget=["']([^"']*)""")


class BadCell(NamedTuple):
    """A cell that is refused, and the code of the reason; no place if the XML names none."""

    code: str
    row: int | None = None
    column: int | None = None


@dataclass(slots=True)
class Marks:
    """Cells and rows of a sheet, or of some, that calamine does not tell.

    Parameters
    ----------
    bad : list of BadCell
        The first cells that are refused.
    zeros : list of BadCell
        The first formulas whose stored value is 0.
    are_computed : bool
        Whether a formula has another value.
    hidden : array of int
        Rows that are hidden, from 0.
    hidden_columns : list of tuple of int
        First and last column of those that are hidden, from 0; the first few.
    """

    bad: list[BadCell] = field(default_factory=list)
    zeros: list[BadCell] = field(default_factory=list)
    are_computed: bool = False
    hidden: array[int] = field(default_factory=lambda: array("L"))
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)


def search(file: BinaryIO, limits: ReadLimits, chunk_bytes: int) -> list[Marks]:
    """Check the sizes of a workbook, and find the marks of each sheet.

    Parameters
    ----------
    file : BinaryIO
        The workbook; seekable.
    limits : ReadLimits
        How large it may be.
    chunk_bytes : int
        Bytes of XML that are searched at once.

    Returns
    -------
    list of Marks
        In the order of the sheets; a single one if the sheets are not known.

    Raises
    ------
    UnreadableFile
        The archive is no workbook.
    TooLarge
        It is larger than the limits allow.
    """
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if len(members) > _MOST_MEMBERS or max(size, unpacked) > limits.max_sheet_bytes:
            detail = f"Unpacked, the workbook has more than {limits.max_sheet_bytes} bytes."
            raise error_from(TooLarge, Fact(detail, "too_many_bytes"))
        limits.check_expansion(size, unpacked)
        # Everything is unpacked here once, in chunks, because the directory may understate the
        # sizes; the module then refuses the member.
        found = {m.filename: _search_member(archive, m, chunk_bytes) for m in members}
        workbook, targets = _list_targets(archive, set(found))
    if _COMPUTES_ALL.search(workbook):
        for marks in found.values():
            if not marks.are_computed:
                # A program that computes nothing stores 0, and asks another one to compute.
                marks.bad += marks.zeros
    anywhere = Marks([cell for marks in found.values() for cell in marks.bad])
    return [found.get(target, anywhere) for target in targets] or [anywhere]


def _search_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, chunk_bytes: int) -> Marks:
    found = Marks()
    held = b""
    with archive.open(member) as stream:
        while chunk := stream.read(chunk_bytes):
            text = held + chunk
            # The last cell may go on in the next chunk; those before it are complete.
            last = max(text.rfind(b"<c"), text.rfind(b":c"))
            cut = max(text.rfind(b"<", 0, last + 1), len(text) - _LONGEST_CELL, 0)
            _match(text[:cut], found)
            held = text[cut:]
    _match(held, found)
    return found


def _match(text: bytes, found: Marks) -> None:
    if b'"e"' in text or b"'e'" in text:
        # N/A is the word of spreadsheets for a gap.
        errors = (match for match in _ERROR.finditer(text) if match[1] != b"#N/A")
        _note(found.bad, errors, "error_cell")
    if b"<f" in text or b":f" in text:
        _note(found.bad, _WITHOUT_VALUE.finditer(text), "formula_without_value")
        _note(found.zeros, _find_zeros(text, found), "formula_without_value")
    if b"hidden" in text:
        rows = (_ROW.search(match[0]) for match in _HIDDEN.finditer(text))
        found.hidden.extend(int(row[1]) - 1 for row in rows if row)
        for match in _COLUMNS.finditer(text):
            ends = [int(bound) - 1 for bound in _BOUND.findall(match[0])]
            if ends and _IS_HIDDEN.search(match[0]) and len(found.hidden_columns) < MOST_CELLS:
                found.hidden_columns.append((min(ends), max(ends)))


def _find_zeros(text: bytes, found: Marks) -> Iterator[re.Match[bytes]]:
    for match in _COMPUTED.finditer(text):
        if match[1].strip() == b"0":
            yield match
        else:
            found.are_computed = True


def _note(cells: list[BadCell], matches: Iterator[re.Match[bytes]], code: str) -> None:
    """Keep the first cells."""
    for match in matches:
        if len(cells) < MOST_CELLS:
            place = _PLACE.search(match[0])
            at = (int(place[2]) - 1, column_number(place[1].decode())) if place else ()
            cells.append(BadCell(code, *at))


def _list_targets(archive: zipfile.ZipFile, names: set[str]) -> tuple[bytes, list[str]]:
    """Return the list of sheets, and the member of each, in the order of the workbook."""
    if not names >= {_WORKBOOK, _RELATIONS}:
        detail = (
            "Unpack an archive in an archive, and call one of files application/zip: the file is"
        )
        detail += " a ZIP archive, but no XLSX workbook."
        raise error_from(UnreadableFile, Fact(detail, "damaged"))
    directory = [archive.getinfo(name) for name in (_WORKBOOK, _RELATIONS)]
    if any(member.file_size > _DIRECTORY_BYTES for member in directory):
        detail = f"The list of sheets has more than {_DIRECTORY_BYTES} bytes."
        raise error_from(TooLarge, Fact(detail, "too_many_bytes"))
    workbook, relations = (archive.read(member) for member in directory)
    target_of = {}
    for match in _RELATION.finditer(relations):
        identifier, target = _ID.search(match[0]), _TARGET.search(match[0])
        if identifier and target:
            path = posixpath.join("/xl", target[1].decode("utf-8", "replace"))
            target_of[identifier[1]] = posixpath.normpath(path).lstrip("/")
    return workbook, [target_of.get(identifier, "") for identifier in _SHEET.findall(workbook)]


def column_number(letters: str) -> int:
    """Return the position of a column.

    Parameters
    ----------
    letters : str
        Its name, such as AB.

    Returns
    -------
    int
        From 0.
    """
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def column_letters(number: int) -> str:
    """Return the name of a column.

    Parameters
    ----------
    number : int
        Its position, from 0.

    Returns
    -------
    str
        Such as AB.
    """
    letters, number = "", number + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
