"""Tables on their way out: the formats, their documentation, and the name of the file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from urllib.parse import quote

import pyarrow as pa
from flask import Response, g

from api.http.media import ARROW, CSV, JSON, PARQUET
from api.http.replies import compute_reply
from api.http.room import Handler, Room
from services.errors import Fact, InvalidOption
from services.export.writers import arrow_stream, csv_rows, parquet_file

_ENDINGS = {CSV: ".csv", PARQUET: ".parquet", ARROW: ".arrows"}
_WRITERS: dict[str, Callable[[pa.Schema, Iterable[pa.RecordBatch]], Iterator[bytes]]] = {
    PARQUET: parquet_file,
    ARROW: arrow_stream,
}

STEM_LENGTH, STEM_BYTES = 100, 200
"""Characters of a file's name without its ending, and bytes in UTF-8: file systems have 255."""

# Not allowed on some system, or with a meaning in a shell, a path or a header.
_UNSAFE = re.compile(r'[\s<>:"/\\|?*%$`\']*[<>:"/\\|?*%$`\'][\s<>:"/\\|?*%$`\']*')


def offers_tables(room: Room, example: str) -> Callable[[Handler], Handler]:
    """Document and negotiate JSON, CSV, Parquet and Arrow; the handler documents its JSON."""
    name = {
        "Content-Disposition": {"description": "The file's name.", "schema": {"type": "string"}}
    }
    binary = {"type": "string", "format": "binary"}

    def decorator(function: Handler) -> Handler:
        for kind in (ARROW, PARQUET):
            function = room.response(200, binary, content_type=kind, headers=name)(function)
        text = {"type": "string"}
        function = room.response(200, text, content_type=CSV, example=example)(function)
        return room.offers(JSON, CSV, PARQUET, ARROW)(function)

    return decorator


def rows_reply(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    stem: str,
    headers: dict[str, str] | None = None,
    *,
    as_text: bool = False,
) -> Response:
    """Rows as a file in the format of `g.media`, sent as they are made.

    The first are read at once: what was deleted meanwhile is a 404, not a broken file.
    """
    rest = iter(batches)
    write = partial(csv_rows, as_text=as_text) if g.media == CSV else _WRITERS[g.media]
    return file_reply(lambda: write(schema, chain(list(islice(rest, 1)), rest)), stem, headers)


def asks_for_text(cells: str | None) -> bool:
    """Whether cells must not be taken for formulas; 422 in a format whose cells never are."""
    if cells is not None and g.media != CSV:
        detail = "Leave out cells, or ask for CSV with Accept: text/csv; it is for CSV only."
        raise InvalidOption(detail, [Fact(detail, "wrong_format", parameter="cells")])
    return cells is not None


def file_reply(
    make: Callable[[], Iterable[bytes]], stem: str, headers: dict[str, str] | None = None
) -> Response:
    """A file in the format of `g.media`, to be saved under a name."""
    kind = f"{CSV}; charset=utf-8" if g.media == CSV else g.media
    named = {"Content-Disposition": disposition("attachment", stem, _ENDINGS[g.media])}
    return compute_reply(make, kind, named | (headers or {}))


def disposition(kind: str, stem: str, ending: str) -> str:
    """Content-Disposition with a name that every system can store (RFC 6266, RFC 8187)."""
    name = _safe(stem) + ending
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    value = f'{kind}; filename="{_safe(plain.removesuffix(ending))}{ending}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def _safe(stem: str) -> str:
    """A name without what a file system, a shell or a header would misread."""
    printable = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in stem)
    short = _UNSAFE.sub("-", printable)[:STEM_LENGTH].encode()[:STEM_BYTES]
    return short.decode(errors="ignore").strip(" .-") or "idealfit"
