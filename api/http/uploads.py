"""The kinds of body in which curves come: JSON, a form with a file, the file itself."""

from __future__ import annotations

import functools
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import marshmallow as ma
from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from api import slots
from api.errors import Problem
from api.http.arguments import invalid, load
from api.http.bodies import body_coding, expect_type, json_body, parse_json, read_limits
from api.http.media import ARROW, CSV, JSON, PARQUET
from api.limits import limits_in_force
from api.running import running
from services.errors import Fact, InvalidOption, InvalidTable, TooLarge
from services.files import USUAL_X, ReadOptions, Source, pick_x, read_apart, read_text
from services.files import formats as kinds_of_files
from services.files.compressed import Unpacked
from services.files.formats import kind_of
from services.scratch import SpooledFile, scratch
from services.tables import NAME_LENGTH, Curves, FloatArray, Table, clean_names

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FORM = "multipart/form-data"
TSV = "text/tab-separated-values"
ARROW_FILE = "application/vnd.apache.arrow.file"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ANY = "application/octet-stream"
FILES = (CSV, TSV, PARQUET, ARROW, ARROW_FILE, XLSX, ANY)
BODIES = (JSON, FORM, *FILES)

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files: its name in `source`, and the first bytes that it may have."""

    name: str
    kinds: tuple[str, ...]


_JSON = Format("json", (kinds_of_files.JSON, kinds_of_files.TEXT))
_FORMAT_OF_TYPE = {
    JSON: _JSON,
    CSV: Format("csv", (kinds_of_files.TEXT,)),
    TSV: Format("tsv", (kinds_of_files.TEXT,)),
    PARQUET: Format("parquet", (kinds_of_files.PARQUET,)),
    ARROW: Format("arrow", (kinds_of_files.ARROW_STREAM,)),
    ARROW_FILE: Format("arrow", (kinds_of_files.ARROW_FILE,)),
    XLSX: Format("xlsx", (kinds_of_files.ZIP,)),
}
_FORMAT_OF_KIND = {
    found.kinds[0]: found for media, found in _FORMAT_OF_TYPE.items() if media != TSV
}
_PLAIN = ("csv", "tsv", "json")
"""Formats whose files are about as long as what they hold."""

_ANY_ARROW = Format("arrow", (kinds_of_files.ARROW_STREAM, kinds_of_files.ARROW_FILE))
_FORMAT_OF_SUFFIX = {
    "": None,  # the content tells
    **dict.fromkeys((".csv", ".txt", ".dat"), _FORMAT_OF_TYPE[CSV]),
    **dict.fromkeys((".tsv", ".tab"), _FORMAT_OF_TYPE[TSV]),
    ".json": _JSON,
    **dict.fromkeys((".parquet", ".pq"), _FORMAT_OF_TYPE[PARQUET]),
    **dict.fromkeys((".arrow", ".arrows", ".feather", ".ipc"), _ANY_ARROW),
    ".xlsx": _FORMAT_OF_TYPE[XLSX],
}
_CODING_OF_SUFFIX = {".gz": kinds_of_files.GZIP, ".zst": kinds_of_files.ZSTD}
KNOWN_NAMES = " ".join(f"*{suffix}" for suffix in _FORMAT_OF_SUFFIX if suffix)


@dataclass(frozen=True, slots=True)
class Upload:
    """Curves, how they were read, and the fields that came with them.

    The curves may lie in a file that is there until they are closed.
    """

    curves: Curves
    source: Source
    fields: dict[str, Any]


def read_upload(
    json_schema: type[ma.Schema],
    form_schema: type[ma.Schema],
    query: dict[str, Any],
    usual_x: Sequence[str] = USUAL_X,
    grid: tuple[str, FloatArray] | None = None,
) -> Upload:
    """The table in the body of this request.

    `query` holds the fields of a plain file, `usual_x` names of the x column that need not be
    said, `grid` the name and values of x where the dataset is there already.
    """
    running().disk.require()
    media = expect_type(*BODIES)
    if (request.content_length or 0) > limits_in_force().body_bytes:
        raise RequestEntityTooLarge
    coding = body_coding()
    if media in FILES:
        size = slots.receive(limits_in_force().body_bytes)
        stream = cast("BinaryIO", request.stream)
        declared = _FORMAT_OF_TYPE.get(media)
        file = _File(stream, declared, f"declared as {media}", coding, size)
        return _from_file(file, query, usual_x, grid, (json_schema, {n for n in query if query[n]}))
    _refuse_beside(query, form_schema)
    if media == JSON:
        size = slots.receive(limits_in_force().json_body_bytes)
        slots.enter_with(size, is_packed=coding is not None)
        return _from_json(json_body(), json_schema, ({}, {}), usual_x, coding)
    return _from_form((json_schema, form_schema), usual_x, grid)


def _refuse_beside(query: dict[str, Any], schema: type[ma.Schema]) -> None:
    """Refuse options of a plain file in the query of a body that holds its own.

    One that holds its default counts as not given: generated clients send them all.
    """
    fields = _shape(schema).fields
    said = [name for name in request.args if query[name] != _default(fields[name])]
    if said:
        message = "Send it as a field of the body; the query describes a plain file."
        raise invalid({name: [message] for name in said}, "query")


def _default(field: ma.fields.Field[Any]) -> Any:
    value = field.load_default
    return value() if callable(value) else value


def _from_json(
    data: bytes,
    schema: type[ma.Schema],
    beside: tuple[dict[str, Any], dict[str, Any]],
    usual_x: Sequence[str],
    coding: str | None,
) -> Upload:
    """A table as JSON; fields beside it count less, or more, than its own."""
    kind = kind_of(data[: kinds_of_files.HEAD])
    if kind not in _JSON.kinds:
        raise _contradiction(f"declared as {JSON}", kind)
    body = parse_json(data)
    _refuse_many_columns(body)
    less, more = beside
    fields = load(_shape(schema), less | body | more if isinstance(body, dict) else body, "json")
    names, values = fields.pop("columns")
    table = _table(names, values, fields.pop("x_column"), usual_x)
    return Upload(table, Source("json", None, None, None, None, coding), fields)


def _refuse_many_columns(body: Any) -> None:
    """Before arrays are made of them."""
    columns = body.get("columns") if isinstance(body, dict) else None
    if isinstance(columns, dict) and len(columns) > limits_in_force().columns:
        detail = f"There are {len(columns)} columns; the limit is {limits_in_force().columns}."
        raise TooLarge(detail, [Fact(detail, "too_many_columns", pointer="/columns")])


@functools.cache
def _shape(schema: type[ma.Schema]) -> ma.Schema:
    """One instance for all requests: making one copies every field."""
    return schema()


def _table(
    names: list[str], values: FloatArray, x_column: str | None, usual_x: Sequence[str]
) -> Table:
    most = limits_in_force()
    if values.shape[1] > most.rows:
        detail = f"There are {values.shape[1]} rows; the limit is {most.rows}."
        raise TooLarge(detail, [Fact(detail, "too_many_rows", pointer="/columns")])
    cleaned = tuple(clean_names(names))
    if x_column is not None and x_column.strip() not in cleaned:
        detail = f"There is no column {x_column[:40]!r} to take x from."
        raise InvalidTable(detail, [Fact(detail, "unknown_column", pointer="/x_column")])
    return pick_x(cleaned, values, x_column, usual_x)


def _from_form(
    schemas: tuple[type[ma.Schema], type[ma.Schema]],
    usual_x: Sequence[str],
    grid: tuple[str, FloatArray] | None,
) -> Upload:
    """A file and its fields; a field that was left empty, as browsers send it, is not there."""
    try:
        texts, files = list(request.form.items(multi=True)), request.files.items(multi=True)
        parts = [*((name, text) for name, text in texts if text), *files]
    except ValueError:
        raise Problem(
            400, "The form cannot be read; its boundary is missing or it ends early."
        ) from None
    if sum(len(text.encode()) for _, text in texts) > limits_in_force().form_text_bytes:
        raise RequestEntityTooLarge
    if undecodable := next((name for name, text in texts if "\ufffd" in name + text), None):
        # The library puts this sign where bytes are no UTF-8.
        detail = f"The form field {undecodable[:40]!r} is no UTF-8."
        raise Problem(400, detail, [Fact(detail, "undecodable", parameter=undecodable)])
    names = [name for name, _ in parts]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise invalid({name: ["Given more than once."] for name in twice}, "form")
    fields = load(_shape(schemas[1]), dict(parts), "form")
    file = fields.pop("file")
    if not isinstance(file, FileStorage):
        raise invalid({"file": ["Not a file; give the part a file name."]}, "form")
    path = PurePosixPath((file.filename or "").replace("\\", "/"))
    coding = _CODING_OF_SUFFIX.get(path.suffix.lower())
    stem = PurePosixPath(path.stem) if coding else path
    if not fields.get("name", "-"):
        fields["name"] = stem.stem.replace("\0", "").strip()[:NAME_LENGTH]
    said = {name for name in names if fields.get(name)}
    return _from_file(_part(file, path, coding), fields, usual_x, grid, (schemas[0], said))


@dataclass(frozen=True, slots=True)
class _File:
    """Bytes, what their sender says they are, how they were packed, and how many were sent.

    `declared` is None where nothing is said; `said` is how it is said, as part of a sentence.
    """

    stream: BinaryIO
    declared: Format | None
    said: str
    coding: str | None
    size: int


_SAYS_NOTHING = ("called *", f"declared as {ANY}")
"""How a file is described whose content alone tells its format."""


def _part(file: FileStorage, path: PurePosixPath, coding: str | None) -> _File:
    """The file of a form, by its name and its type, unpacked if its name says it is packed."""
    stream = cast("BinaryIO", file.stream)
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if coding:
        if (packed := kind_of(_ahead(stream)[0])) != coding:
            raise _contradiction(f"called *{path.suffix}", packed)
        stream = cast("BinaryIO", Unpacked(stream, coding, read_limits()))
        path = PurePosixPath(path.stem)
    coding, suffix = coding or body_coding(), path.suffix.lower()
    by_name, by_type = _FORMAT_OF_SUFFIX.get(suffix), _FORMAT_OF_TYPE.get(file.mimetype)
    if by_name and by_type and not set(by_name.kinds) & set(by_type.kinds):
        raise _refused(f"The file is called *{suffix}, but its part is declared {file.mimetype}.")
    # The name decides, unless the type says TSV: clients guess the type by the name, and of Arrow
    # they know one kind only.
    if by_type and (by_name is None or file.mimetype == TSV):
        return _File(stream, by_type, f"declared {file.mimetype}", coding, size)
    return _File(stream, by_name, f"called *{suffix}", coding, size)


def _refused(detail: str) -> Problem:
    taken = ", ".join(FILES)
    return Problem(415, f"{detail} {KNOWN_NAMES} are taken.", headers={"Accept-Post": taken})


def _contradiction(said: str, kind: str) -> Problem:
    return _refused(f"The file is {said}, but what it holds is {kinds_of_files.NAMES[kind]}.")


class _Ahead(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        data = self._head or self._stream.read(len(target))
        count = min(len(target), len(data))
        target[:count] = data[:count]
        self._head = self._head[count:]
        return count


def _ahead(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """The first bytes of a stream, and the stream from its beginning."""
    head = b""
    while len(head) < kinds_of_files.HEAD and (more := stream.read(kinds_of_files.HEAD)):
        head += more
    if stream.seekable():
        stream.seek(0)
        return head, stream
    return head, cast("BinaryIO", _Ahead(head, stream))


def _from_file(
    file: _File,
    fields: dict[str, Any],
    usual_x: Sequence[str],
    grid: tuple[str, FloatArray] | None,
    json: tuple[type[ma.Schema], set[str]],
) -> Upload:
    """A table in a file; `json` is the shape of JSON, and the fields that were said beside it."""
    head, stream = _ahead(file.stream)
    found = _format(file, head)
    others = dict(fields)
    options = ReadOptions(
        header=others.pop("header"),
        sheet=others.pop("sheet"),
        x_column=others.pop("x_column"),
        usual_x=usual_x,
        n_points=grid[1].size if grid else None,
        limits=read_limits(),
    )
    _check_options(found, options)
    slots.enter_with(file.size, is_packed=bool(file.coding) or found.name not in _PLAIN)
    if found is _JSON:
        said = (others | {"x_column": options.x_column}).items()
        more = {name: value for name, value in said if name in json[1]}
        return _from_json(_all_of(stream), json[0], (_name(others), more), usual_x, file.coding)
    if found.name in ("csv", "tsv"):
        curves, source = read_text(
            stream,
            format=found.name,
            header=options.header,
            x_column=options.x_column,
            usual_x=usual_x,
            limits=options.limits,
        )
    else:
        with _on_disk(stream) as whole_file:
            curves, source = read_apart(whole_file, found.name, options, grid)
    return Upload(curves, replace(source, compression=file.coding), others)


def _name(fields: dict[str, Any]) -> dict[str, Any]:
    return {"name": fields["name"]} if "name" in fields else {}


def _all_of(stream: BinaryIO) -> bytes:
    most = limits_in_force().json_body_bytes
    data = io.BytesIO()
    while data.tell() <= most and (more := stream.read(_COPY_BYTES)):
        data.write(more)
    if data.tell() > most:
        raise Problem(413, f"JSON may have {most} bytes; send a CSV file instead.")
    return data.getvalue()


def _format(file: _File, head: bytes) -> Format:
    """The format of a file, if what is said of it and what it holds agree."""
    kind = kind_of(head)
    if not head:
        raise InvalidTable("The file is empty.", [Fact("The file is empty.", "no_rows")])
    if file.declared is None:
        if kind in _FORMAT_OF_KIND and (kind != kinds_of_files.TEXT or file.said in _SAYS_NOTHING):
            return _FORMAT_OF_KIND[kind]
        raise _contradiction(file.said, kind)
    if kind not in file.declared.kinds:
        raise _contradiction(file.said, kind)
    return file.declared


def _check_options(found: Format, options: ReadOptions) -> None:
    """Refuse what would be said in vain."""
    vain = {
        "sheet": options.sheet is not None and found.name != "xlsx",
        "header": options.header == "absent" and found.name in ("json", "parquet", "arrow"),
    }
    for name in filter(vain.get, vain):
        detail = f"{name}: a file of this format ({found.name}) has none to choose."
        raise InvalidOption(detail, [Fact(detail, "invalid", parameter=name)])


def _on_disk(stream: BinaryIO) -> BinaryIO:
    """The same bytes as a file of the operating system, gone when it is closed."""
    if isinstance(stream, SpooledFile):
        return cast("BinaryIO", stream)
    file = scratch.file()  # closed by the caller
    try:
        shutil.copyfileobj(stream, file, _COPY_BYTES)
    except BaseException:
        file.close()
        raise
    return file
