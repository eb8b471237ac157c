"""What a file is, by its first bytes."""

from __future__ import annotations

HEAD = 64
"""Bytes that are enough to tell."""

PARQUET, ARROW_FILE, ARROW_STREAM, ZIP = "parquet", "arrow-file", "arrow-stream", "zip"
GZIP, ZSTD, TEXT = "gzip", "zstd", "text"

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
    TEXT: "text, as far as its first bytes tell",
}
"""What to call each kind before a person."""


def kind_of(head: bytes) -> str:
    """Tell what a file is.

    Parameters
    ----------
    head : bytes
        Its first bytes, `HEAD` of them if there are so many.

    Returns
    -------
    str
        A key of `NAMES`; `TEXT` for all that has no mark.
    """
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), TEXT)
