"""Thermo/Galactic SPC files as spectra.

Read as Galactic Industries published the format ("A Brief Guide to SPC File Format and Using
GSPCIO", with SPC.H): a header, the x column unless it is even, and subfiles, each with a header.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from services.errors import Fact, InvalidTable, UnreadableFile, error_from
from services.files.common import ReadOptions, Source, TableHead
from services.files.spectra import Room, Spectrum, write_spectra
from services.files.spool import ColumnFile
from services.tables import FloatArray

_LITTLE_ENDIAN, _BIG_ENDIAN, _OLD = 0x4B, 0x4C, 0x4D
"""The second byte of a file, its version."""

_HEADER = "BBBbIddIBBBBI9s9s34x130s30s16x48s200x"
_SUBHEADER = "xb2xf8xI12x"
_ENTRY = "I8x"
_HEADER_BYTES, _SUBHEADER_BYTES, _ENTRY_BYTES = 512, 32, 12

# Bits of the first byte.
_HAS_16_BITS, _HAS_SUBFILES, _HAS_AXIS_TEXTS, _HAS_OWN_X, _HAS_X = 0x01, 0x04, 0x20, 0x40, 0x80

_LEAST_YEAR = 1000

_FLOATS = -128
"""The exponent of ordinates that are float32."""

_X_UNITS = (
    *(None, "cm-1", "um", "nm", "s", "min", "Hz", "kHz", "MHz", "m/z", "ppm", "days", "years"),
    *("cm-1", "eV", None, "diode number", "channel", "degrees", "°F", "°C", "K", "data points"),
    *("ms", "us", "ns", "GHz", "cm", "m", "mm", "h"),
)
_RAMAN_SHIFT = 13
_UNITS = (
    *(None, "interferogram", "absorbance", "Kubelka-Munk", "counts", "V", "degrees", "mA", "mm"),
    *("mV", "log(1/R)", "percent", "intensity", "relative intensity", "energy", None, "dB"),
    *(None, None, "°F", "°C", "K", "refractive index", "extinction coefficient", "real"),
    *("imaginary", "complex"),
)
_UNITS_DOWN = {128: "transmittance", 129: "reflectance", 130: None, 131: "emission"}
"""Units of ordinates whose peaks point down."""

_IN_BRACKETS = re.compile(r"\(([^()]+)\)\s*$")


class _Header(NamedTuple):
    flags: int
    version: int
    experiment: int
    exponent: int
    points: int
    first: float
    last: float
    subfiles: int
    x_type: int
    y_type: int
    z_type: int
    posted: int
    date: int
    resolution: bytes
    instrument: bytes
    memo: bytes
    axes: bytes
    method: bytes


class _Subfile(NamedTuple):
    """A subfile: where its numbers start, and the bytes of an ordinate."""

    exponent: int
    z: float
    points: int
    start: int
    width: int


def read_spc(data: Any, into: ColumnFile, options: ReadOptions) -> list[TableHead]:
    """Read an SPC file.

    Parameters
    ----------
    data : bytes-like
        The file.
    into : ColumnFile
        Gets the numbers.
    options : ReadOptions
        Options of the client, and the limits.

    Returns
    -------
    list of TableHead
        Everything else: one head if all subfiles share an x column, else one for each.

    Raises
    ------
    UnreadableFile
        The file is no SPC file, an old one, or cut.
    InvalidTable
        It has no points, or infinite numbers.
    TooLarge
        It holds more than the limits allow.
    """
    reader = _Reader(data, Room(options.limits, len(data)))
    with np.errstate(all="ignore"):
        return write_spectra(reader.read(), into, Source("spc"), options)


class _Reader:
    def __init__(self, data: Any, room: Room) -> None:
        self._data = data
        self._room = room
        self._order = _read_order(data)
        self._header = _Header._make(self._unpack(_HEADER, 0))
        self._count = max(1, self._header.subfiles)
        self._attributes = _describe(self._header)

    def read(self) -> Iterator[Spectrum]:
        """Yield one spectrum, or one for each subfile with an x of its own."""
        if self._header.flags & _HAS_OWN_X:
            yield from self._read_own_x()
        else:
            yield self._read_common_x()

    def _unpack(self, layout: str, start: int) -> tuple[Any, ...]:
        self._require(start, struct.calcsize(f"={layout}"))
        return struct.unpack_from(f"{self._order}{layout}", self._data, start)

    def _require(self, start: int, length: int) -> None:
        """Refuse a file that ends before a part of it does."""
        if start + length > len(self._data):
            detail = f"The SPC file is cut, or damaged: it has {len(self._data)} bytes and by its"
            detail += f" header at least {start + length}."
            raise error_from(UnreadableFile, Fact(detail, "damaged"))

    def _array(self, kind: str, start: int, count: int) -> FloatArray:
        layout = np.dtype(f"{self._order}{kind}")
        self._require(start, layout.itemsize * count)
        return np.frombuffer(self._data, layout, count, start).astype(np.float64)

    def _read_common_x(self) -> Spectrum:
        header, count, points = self._header, self._count, self._header.points
        if points == 0:
            raise error_from(InvalidTable, Fact("The SPC file has no points.", "no_rows"))
        self._room.check(count + 1, points)
        has_x = bool(header.flags & _HAS_X)
        start = _HEADER_BYTES + has_x * 4 * points
        least = 2 if header.flags & _HAS_16_BITS else 4
        self._require(start, count * (_SUBHEADER_BYTES + least * points))
        self._room.take(count + 1, points)
        x = (
            self._array("f4", _HEADER_BYTES, points)
            if has_x
            else np.linspace(header.first, header.last, points)
        )
        y, subfiles = np.empty((count, points)), []
        for at in range(count):
            subfile = self._read_subheader(start)._replace(points=points)
            y[at] = self._read_ordinates(subfile, subfile.start)
            start = subfile.start + points * subfile.width
            subfiles.append(subfile)
        return self._make(x, y, subfiles, 1)

    def _read_own_x(self) -> Iterator[Spectrum]:
        """Yield subfiles where the directory says they are; without one they follow each other."""
        directory, start = self._header.points, _HEADER_BYTES
        self._room.check(2 * self._count, 0)
        self._require(start, self._count * _SUBHEADER_BYTES)
        for number in range(1, self._count + 1):
            if directory:
                place = directory + (number - 1) * _ENTRY_BYTES
                start = self._unpack(_ENTRY, place)[0]
            subfile = self._read_subheader(start)
            points = subfile.points
            if points == 0:
                detail = f"The subfile {number} of the SPC file has no points."
                raise error_from(InvalidTable, Fact(detail, "no_rows"))
            self._room.check(2, points)
            x = self._array("f4", subfile.start, points)
            y = self._read_ordinates(subfile, subfile.start + 4 * points)
            start = subfile.start + points * (4 + subfile.width)
            self._room.take(2, points)
            yield self._make(x, y[np.newaxis], [subfile], number)

    def _read_subheader(self, start: int) -> _Subfile:
        exponent, z, points = self._unpack(_SUBHEADER, start)
        if not self._header.flags & _HAS_SUBFILES:
            exponent = self._header.exponent
        has_16_bits = self._header.flags & _HAS_16_BITS and exponent != _FLOATS
        return _Subfile(exponent, z, points, start + _SUBHEADER_BYTES, 2 if has_16_bits else 4)

    def _read_ordinates(self, subfile: _Subfile, start: int) -> FloatArray:
        """Read ordinates: float32, or whole numbers times a power of 2, which is exact."""
        if subfile.exponent == _FLOATS:
            return self._array("f4", start, subfile.points)
        whole = self._array(f"i{subfile.width}", start, subfile.points)
        return np.ldexp(whole, subfile.exponent - 8 * subfile.width)

    def _make(
        self, x: FloatArray, y: FloatArray, subfiles: list[_Subfile], number: int
    ) -> Spectrum:
        """Make a spectrum of subfiles, the first of which has this number from 1."""
        has_many = self._count > 1
        names = tuple(str(number + at) if has_many else "" for at in range(len(subfiles)))
        unit = _unit_of(self._header.z_type)
        attributes = tuple(
            self._attributes | ({"Z": _show(subfile.z, unit)} if has_many else {})
            for subfile in subfiles
        )
        x_text, y_text = _axis_texts(self._header)
        x_unit = _in_brackets(x_text) or _unit_of(self._header.x_type)
        y_type = self._header.y_type
        y_unit = _in_brackets(y_text) or (
            _UNITS[y_type] if y_type < len(_UNITS) else _UNITS_DOWN.get(y_type)
        )
        return Spectrum(x, y, names, x_unit, y_unit, attributes)


def _read_order(data: Any) -> str:
    """Read the version of a file as the order of its bytes."""
    version = data[1] if len(data) > 1 else None
    if version == _OLD:
        detail = "Save the file in the newer SPC format; this is the old one (0x4D), which is not"
        raise error_from(UnreadableFile, Fact(f"{detail} read.", "old_spc"))
    if version not in (_LITTLE_ENDIAN, _BIG_ENDIAN):
        detail = "The file is no SPC file, or damaged: its second byte is not 0x4B or 0x4C."
        raise error_from(UnreadableFile, Fact(detail, "damaged"))
    return "<" if version == _LITTLE_ENDIAN else ">"


def _unit_of(axis_type: int) -> str | None:
    return _X_UNITS[axis_type] if axis_type < len(_X_UNITS) else None


def _axis_texts(header: _Header) -> tuple[str, str]:
    """Return the texts that the file has for x and y."""
    if not header.flags & _HAS_AXIS_TEXTS:
        return "", ""
    x, y, *_ = (*header.axes.split(b"\0"), b"", b"")
    return _decode(x), _decode(y)


def _in_brackets(text: str) -> str | None:
    found = _IN_BRACKETS.search(text)
    return found[1].strip() if found else text or None


def _describe(header: _Header) -> dict[str, str]:
    x_text, y_text = _axis_texts(header)
    x_text = x_text or ("Raman shift" if header.x_type == _RAMAN_SHIFT else "")
    texts = {
        "MEMO": _decode(header.memo),
        "DATE": _show_date(header.date),
        "INSTRUMENT": _decode(header.instrument),
        "RESOLUTION": _decode(header.resolution),
        "METHOD": _decode(header.method),
        "X AXIS": x_text,
        "Y AXIS": y_text,
    }
    return {name: text for name, text in texts.items() if text}


def _decode(text: bytes) -> str:
    """Decode the text before the first NUL, without control characters."""
    decoded = text.partition(b"\0")[0].decode("windows-1252", "replace")
    return "".join(filter(str.isprintable, " ".join(decoded.split())))


def _show_date(packed: int) -> str:
    """Show the date of a header; empty if it has none, or one that cannot be."""
    year = packed >> 20
    # Some writers count years from 1900, as C does.
    year += 1900 * (year < _LEAST_YEAR)
    fields = (year, packed >> 16 & 15, packed >> 11 & 31, packed >> 6 & 31, packed & 63)
    try:
        return datetime(*fields).isoformat(timespec="minutes")  # noqa: DTZ001 - no zone is known
    except ValueError:
        return ""


def _show(z: float, unit: str | None) -> str:
    """Show a float32 by the fewest digits that give it."""
    return " ".join(filter(None, (str(np.float32(z)), unit)))
