"""What a file is, by its first bytes."""

from __future__ import annotations

import codecs
import re

HEAD = 64
"""Bytes that are enough to tell."""

PARQUET, ARROW_FILE, ARROW_STREAM, ZIP = "parquet", "arrow-file", "arrow-stream", "zip"
GZIP, ZSTD, TEXT, JSON, BINARY = "gzip", "zstd", "text", "json", "binary"

_MAGIC = {
    b"PAR1": PARQUET,
    b"PARE": "parquet-encrypted",
    b"ARROW1": ARROW_FILE,
    b"FEA1": "feather-1",
    b"\xff\xff\xff\xff": ARROW_STREAM,
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": ZIP,
    b"\x1f\x8b": GZIP,
    b"\x28\xb5\x2f\xfd": ZSTD,
    b"\xd0\xcf\x11\xe0": "ole",
    b"SQLite format 3\0": "sqlite",
    b"\x89HDF\r\n": "hdf",
    b"%PDF-": "pdf",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"MATLAB 5.0": "matlab",
    b"\x93NUMPY": "numpy",
    b"{\\rtf": "rtf",
}

NAMES = {
    PARQUET: "Parquet",
    "parquet-encrypted": "encrypted Parquet",
    ARROW_FILE: "an Arrow file (Feather)",
    "feather-1": "Feather version 1",
    ARROW_STREAM: "an Arrow stream",
    ZIP: "a ZIP archive, as XLSX is",
    GZIP: "gzip",
    ZSTD: "zstd",
    "ole": "an old or encrypted Office file",
    "sqlite": "a SQLite database",
    "hdf": "HDF5",
    "pdf": "PDF",
    "bzip2": "bzip2",
    "xz": "xz",
    "7z": "a 7z archive",
    "rar": "a RAR archive",
    "png": "a PNG picture",
    "jpeg": "a JPEG picture",
    "gif": "a GIF picture",
    "matlab": "a MATLAB file",
    "numpy": "a NumPy array",
    "rtf": "RTF",
    BINARY: "a binary file of a kind that is not known here",
    TEXT: "text, as far as its first bytes tell",
    JSON: "JSON",
}
"""What to call each kind before a person."""


_JSON = re.compile(rb"\s*(?:\{\s*[\"}]|\[\s*[\[{])")
"""How an object begins, or an array of such; no line of names does."""

_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"

_CONTROL = bytes({*range(0x20)} - {*b"\t\n\v\f\r\x1a\x1b"})
"""Bytes that no text has; a text may end with 1A."""

_MARKS_OF_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def kind_of(head: bytes) -> str:
    """Tell what a file is.

    Parameters
    ----------
    head : bytes
        Its first bytes, `HEAD` of them if there are so many.

    Returns
    -------
    str
        A key of `NAMES`; `TEXT` for all that has no mark and may be text, and for a line of
        ASCII that begins like one: a column may be called PAR1.
    """
    if _JSON.match(head):
        return JSON
    if not head.translate(None, _PRINTABLE):
        return TEXT
    marked = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    return marked or (BINARY if _is_binary(head) else TEXT)


def _is_binary(head: bytes) -> bool:
    """Whether bytes are no text in any encoding: control characters, and no UTF-8 around them."""
    if head.startswith(_MARKS_OF_UTF_16) or not set(head).intersection(_CONTROL):
        return False
    # A character may be cut at the end.
    return codecs.getincrementaldecoder("utf-8")("replace").decode(head).count("\ufffd") > 0
