"""The formats of files: one table for reading and writing, for the API and the command line.

To add one, follow "Add a file format" in docs/architecture.md.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypedDict, get_args

TextFormat = Literal["csv", "tsv"]
"""Formats of delimited text (`services.files.text`)."""

ColumnarFormat = Literal["parquet", "arrow"]
"""Formats that store columns (`services.files.columnar`)."""

SandboxedFormat = Literal[ColumnarFormat, "xlsx", "jcamp", "spc"]
"""Formats that are read in a process with limits (`services.files.sandbox_main`)."""

Format = Literal[TextFormat, "json", SandboxedFormat]
"""Formats that are read. The fields of JSON are in `api/schemas/datasets.py`."""

WrittenFormat = Literal["csv", "parquet", "arrow"]
"""Formats that tables are written in (`services.export.writers`)."""

Compression = Literal["gzip", "zstd"]
"""Compressions of a body or a file (`services.files.compressed`)."""

FORMATS: tuple[Format, ...] = get_args(Format)
TEXT_FORMATS: tuple[TextFormat, ...] = get_args(TextFormat)
WRITTEN_FORMATS: tuple[WrittenFormat, ...] = get_args(WrittenFormat)
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)

COMPRESSION_OF_SUFFIX: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}


class Content(Enum):
    """What the first bytes of a file say it is; the value is its name in a sentence."""

    PARQUET = "Parquet"
    ENCRYPTED_PARQUET = "encrypted Parquet"
    ARROW_FILE = "an Arrow file (Feather)"
    FEATHER_1 = "Feather version 1"
    ARROW_STREAM = "an Arrow stream"
    ZIP = "a ZIP archive, as XLSX is"
    GZIP = "gzip"
    ZSTD = "zstd"
    OPEN_DOCUMENT = "an OpenDocument file; save the sheet as XLSX or CSV"
    OLE = "an old or encrypted Office file; save the sheet as XLSX or CSV"
    SQLITE = "a SQLite database"
    HDF = "HDF5"
    PDF = "PDF"
    BZIP2 = "bzip2"
    XZ = "xz"
    SEVEN_ZIP = "a 7z archive"
    RAR = "a RAR archive"
    PNG = "a PNG picture"
    JPEG = "a JPEG picture"
    GIF = "a GIF picture"
    MATLAB = "a MATLAB file"
    NUMPY = "a NumPy array"
    RTF = "RTF"
    JCAMP = "JCAMP-DX"
    SPC = "a Thermo/Galactic SPC file"
    BINARY = "a binary file of an unknown kind"
    TEXT = "text, as far as its first bytes tell"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class FormatFacts:
    """Everything about a format but its reader and writer.

    Parameters
    ----------
    media_types : dict of str to tuple of Content
        Media types, the one of written files first, each with the contents that it stands for.
    suffixes : tuple of str
        Suffixes of file names, the one of written files first.
    is_compact : bool
        Whether a file can be much smaller than the numbers in it.
    has_sheets : bool
        Whether the option `sheet` makes sense.
    has_header : bool
        Whether the option `header` makes sense.
    """

    media_types: dict[str, tuple[Content, ...]]
    suffixes: tuple[str, ...]
    is_compact: bool
    has_sheets: bool
    has_header: bool

    @property
    def contents(self) -> tuple[Content, ...]:
        """All contents that a file may have."""
        return tuple(found for contents in self.media_types.values() for found in contents)


class _Table(TypedDict):
    """A row for each format; mypy compares its keys with `Format`."""

    csv: FormatFacts
    tsv: FormatFacts
    json: FormatFacts
    parquet: FormatFacts
    arrow: FormatFacts
    xlsx: FormatFacts
    jcamp: FormatFacts
    spc: FormatFacts


_TABLE: _Table = {
    "csv": FormatFacts(
        media_types={"text/csv": (Content.TEXT,)},
        suffixes=(".csv", ".txt", ".dat"),
        is_compact=False,
        has_sheets=False,
        has_header=True,
    ),
    "tsv": FormatFacts(
        media_types={"text/tab-separated-values": (Content.TEXT,)},
        suffixes=(".tsv", ".tab"),
        is_compact=False,
        has_sheets=False,
        has_header=True,
    ),
    "json": FormatFacts(
        media_types={"application/json": (Content.JSON, Content.TEXT)},
        suffixes=(".json",),
        is_compact=False,
        has_sheets=False,
        has_header=False,
    ),
    "parquet": FormatFacts(
        media_types={"application/vnd.apache.parquet": (Content.PARQUET,)},
        suffixes=(".parquet", ".pq"),
        is_compact=True,
        has_sheets=False,
        has_header=False,
    ),
    "arrow": FormatFacts(
        media_types={
            "application/vnd.apache.arrow.stream": (Content.ARROW_STREAM,),
            "application/vnd.apache.arrow.file": (Content.ARROW_FILE,),
        },
        suffixes=(".arrows", ".arrow", ".feather", ".ipc"),
        is_compact=True,
        has_sheets=False,
        has_header=False,
    ),
    "xlsx": FormatFacts(
        media_types={
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": (Content.ZIP,)
        },
        suffixes=(".xlsx",),
        is_compact=True,
        has_sheets=True,
        has_header=True,
    ),
    "jcamp": FormatFacts(
        media_types={"chemical/x-jcamp-dx": (Content.JCAMP, Content.TEXT)},
        suffixes=(".jdx", ".dx", ".jcm"),
        is_compact=True,
        has_sheets=False,
        has_header=False,
    ),
    "spc": FormatFacts(
        media_types={"chemical/x-galactic-spc": (Content.SPC,)},
        suffixes=(".spc",),
        is_compact=True,
        has_sheets=False,
        has_header=False,
    ),
}


def facts_of(format: Format) -> FormatFacts:
    """Return the row of a format in the table.

    Parameters
    ----------
    format : Format
        One of `FORMATS`.

    Returns
    -------
    FormatFacts
        Its row.
    """
    return _TABLE[format]


def media_type_of(format: Format) -> str:
    """Return the media type of files that are written in a format.

    Parameters
    ----------
    format : Format
        One of `FORMATS`.

    Returns
    -------
    str
        The first of its media types.
    """
    return next(iter(facts_of(format).media_types))


@dataclass(frozen=True, slots=True)
class Declared:
    """What a media type or a suffix says of a file.

    Parameters
    ----------
    format : Format
        Its format.
    contents : tuple of Content
        Contents that agree with it.
    """

    format: Format
    contents: tuple[Content, ...]


DECLARED_BY_MEDIA_TYPE = {
    media_type: Declared(known, contents)
    for known in FORMATS
    for media_type, contents in facts_of(known).media_types.items()
}

DECLARED_BY_SUFFIX = {
    suffix: Declared(known, facts_of(known).contents)
    for known in FORMATS
    for suffix in facts_of(known).suffixes
}

FILE_NAMES = " ".join(f"*{suffix}" for suffix in DECLARED_BY_SUFFIX)
"""Patterns of the names of all files that are read, but for compressed ones."""

FORMAT_OF_CONTENT = {
    content: known for known in reversed(FORMATS) for content in facts_of(known).contents
}
"""Format of a file that nothing is declared of: the first of `FORMATS` with that content."""

HEAD_BYTES = 64
"""Length of the beginning that `recognize` needs."""

_MAGIC = {
    b"PAR1": Content.PARQUET,
    b"PARE": Content.ENCRYPTED_PARQUET,
    b"ARROW1": Content.ARROW_FILE,
    b"FEA1": Content.FEATHER_1,
    b"\xff\xff\xff\xff": Content.ARROW_STREAM,
    b"PK\x03\x04": Content.ZIP,
    b"PK\x05\x06": Content.ZIP,
    b"\x1f\x8b": Content.GZIP,
    b"\x28\xb5\x2f\xfd": Content.ZSTD,
    b"\xd0\xcf\x11\xe0": Content.OLE,
    b"SQLite format 3\0": Content.SQLITE,
    b"\x89HDF\r\n": Content.HDF,
    b"%PDF-": Content.PDF,
    b"BZh": Content.BZIP2,
    b"\xfd7zXZ\0": Content.XZ,
    b"7z\xbc\xaf\x27\x1c": Content.SEVEN_ZIP,
    b"Rar!": Content.RAR,
    b"\x89PNG": Content.PNG,
    b"\xff\xd8\xff": Content.JPEG,
    b"GIF8": Content.GIF,
    b"MATLAB 5.0": Content.MATLAB,
    b"\x93NUMPY": Content.NUMPY,
    b"{\\rtf": Content.RTF,
}

_JSON_START = re.compile(rb"\s*(?:\{\s*[\"}]|\[\s*[\[{])")
"""Start of a JSON object, or of an array of objects or arrays; no row of names looks so."""

_JCAMP_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*##\s*TITLE\s*=", re.IGNORECASE)

_SPC_AXES = {0x4B: 28, 0x4C: 28, 0x4D: 16}
"""Where an SPC file has the types of its axes, x and y, by its second byte, which is its version;
the last one is the old version, whose reader refuses it by name."""

_SPC_X_TYPES = {*range(31), 255}
_SPC_Y_TYPES = {*range(27), *range(128, 132)}

_OPEN_DOCUMENT = b"mimetypeapplication/vnd.oasis."
"""Name and content of the first member of such an archive, which is not packed."""

_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"

_CONTROL = bytes({*range(0x20)} - {*b"\t\n\v\f\r\x1a\x1b"})
"""Bytes that do not occur in text; 1A may end one."""

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def recognize(head: bytes) -> Content:
    """Tell what a file holds by its first bytes.

    Parameters
    ----------
    head : bytes
        The first `HEAD_BYTES` bytes, or all of a shorter file.

    Returns
    -------
    Content
        `Content.TEXT` for anything without a mark that can be text. Printable ASCII is text too
        where it begins like a mark: a column may be called PAR1.
    """
    if _JSON_START.match(head):
        return Content.JSON
    if _JCAMP_START.match(head):
        return Content.JCAMP
    if not head.translate(None, _PRINTABLE):
        return Content.TEXT
    marked = next((content for magic, content in _MAGIC.items() if head.startswith(magic)), None)
    if marked is Content.ZIP and head[30:].startswith(_OPEN_DOCUMENT):
        return Content.OPEN_DOCUMENT
    if marked is None and _is_spc(head):
        return Content.SPC
    return marked or (Content.BINARY if _is_binary(head) else Content.TEXT)


def _is_spc(head: bytes) -> bool:
    """Tell whether bytes are the header of an SPC file, which has no mark of its own."""
    if len(head) < HEAD_BYTES or b"\0" not in head or head[1] not in _SPC_AXES:
        return False
    x_type, y_type = head[_SPC_AXES[head[1]] :][:2]
    return x_type in _SPC_X_TYPES and y_type in _SPC_Y_TYPES


def _is_binary(head: bytes) -> bool:
    """Tell whether bytes are text in no encoding: control characters, and not UTF-8."""
    if head.startswith(_UTF_16_MARKS) or not set(head).intersection(_CONTROL):
        return False
    # A character may be cut at the end.
    return codecs.getincrementaldecoder("utf-8")("replace").decode(head).count("\ufffd") > 0
