"""Tables as files in replies: their formats, their documentation, and the name of the file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from urllib.parse import quote

import pyarrow as pa
from flask import Response, g

from api.http.blueprint import Handler, StrictBlueprint
from api.http.media import CSV, JSON
from api.http.replies import SpooledBody, compute_reply
from services.errors import Fact, InvalidOption
from services.export.writers import write_rows
from services.files.formats import (
    TEXT_FORMATS,
    WRITTEN_FORMATS,
    WrittenFormat,
    facts_of,
    media_type_of,
)

_FORMAT_OF_MEDIA_TYPE: dict[str, WrittenFormat] = {
    media_type_of(written): written for written in WRITTEN_FORMATS
}

TABLE_TYPES = (JSON, *_FORMAT_OF_MEDIA_TYPE)
"""Media types of routes that offer tables."""

STEM_LENGTH, STEM_BYTES = 100, 200
"""Most characters of a file's name without its suffix, and bytes in UTF-8; systems take 255."""

# Characters that some system does not allow, or that mean something in a shell, path or header.
_UNSAFE = re.compile(r'[\s<>:"/\\|?*%$`\']*[<>:"/\\|?*%$`\'][\s<>:"/\\|?*%$`\']*')


def offers_tables(blueprint: StrictBlueprint, example: str) -> Callable[[Handler], Handler]:
    """Document and negotiate all formats of tables; the handler documents its JSON."""
    name = {
        "Content-Disposition": {"description": "The file's name.", "schema": {"type": "string"}}
    }
    text, binary = {"type": "string"}, {"type": "string", "format": "binary"}

    def decorator(function: Handler) -> Handler:
        for written in reversed(WRITTEN_FORMATS):
            media_type = media_type_of(written)
            if written in TEXT_FORMATS:
                documented = blueprint.response(200, text, content_type=media_type, example=example)
            else:
                documented = blueprint.response(200, binary, content_type=media_type, headers=name)
            function = documented(function)
        return blueprint.offers(*TABLE_TYPES)(function)

    return decorator


def rows_reply(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    stem: str,
    headers: dict[str, str] | None = None,
    *,
    as_text: bool = False,
) -> Response:
    """Send rows as a file in the format of `g.media`, as they are made.

    The first batch is read at once: a record deleted meanwhile is a 404, not a broken file.
    """
    format, rest = _FORMAT_OF_MEDIA_TYPE[g.media], iter(batches)

    def write() -> Iterator[bytes]:
        return write_rows(format, schema, chain(list(islice(rest, 1)), rest), as_text=as_text)

    return file_reply(write, stem, headers)


def complete_rows_reply(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], stem: str
) -> Response:
    """Send rows like `rows_reply`, in a file that is complete before it is sent.

    So an error is an error, and rows that are being computed wait for no client.
    """

    def write() -> Response:
        with SpooledBody() as written:
            for piece in write_rows(_FORMAT_OF_MEDIA_TYPE[g.media], schema, batches):
                written.write(piece)
            return written.reply(_content_type())

    return file_reply(write, stem)


def _content_type() -> str:
    return f"{CSV}; charset=utf-8" if g.media == CSV else str(g.media)


def asks_for_text(cells: str | None) -> bool:
    """Tell if words that look like formulas are to be marked as text; 422 for all but CSV."""
    if cells is not None and g.media != CSV:
        detail = "Leave out cells, or ask for CSV with Accept: text/csv; it is for CSV only."
        raise InvalidOption(detail, [Fact(detail, "wrong_format", parameter="cells")])
    return cells is not None


def file_reply(
    make: Callable[[], Iterable[bytes] | Response], stem: str, headers: dict[str, str] | None = None
) -> Response:
    """Send a file in the format of `g.media`, to be saved under a name."""
    suffix = facts_of(_FORMAT_OF_MEDIA_TYPE[g.media]).suffixes[0]
    named = {"Content-Disposition": disposition("attachment", stem, suffix)}
    return compute_reply(make, _content_type(), named | (headers or {}))


def disposition(kind: str, stem: str, suffix: str) -> str:
    """Write a Content-Disposition whose name every system can store (RFC 6266, RFC 8187)."""
    name = _safe(stem) + suffix
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    value = f'{kind}; filename="{_safe(plain.removesuffix(suffix))}{suffix}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def _safe(stem: str) -> str:
    """Replace the characters that a file system, a shell or a header would misread."""
    printable = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in stem)
    short = _UNSAFE.sub("-", printable)[:STEM_LENGTH].encode()[:STEM_BYTES]
    return short.decode(errors="ignore").strip(" .-") or "idealfit"
