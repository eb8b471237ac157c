"""Bodies of requests: media type, content coding and size."""

from __future__ import annotations

import functools
import io
from typing import IO, Any, BinaryIO, cast

from flask import Request, request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.formparser import FormDataParser

from api import jsonbody
from api.errors import Problem
from api.http.form_files import FormFiles
from api.limits import Limits, limits_in_force
from api.processes import cores
from services.files import ReadLimits
from services.files.compressed import Unpacked
from services.files.formats import COMPRESSIONS, Compression


def parse_json(data: bytes, limits: Limits | None = None) -> Any:
    """Parse JSON; 400 if it is malformed or gives one name two values."""
    try:
        return jsonbody.parse(data, limits or limits_in_force())
    except jsonbody.JSONError as error:
        raise Problem(error.status, error.detail, error.facts) from None


_PIECE = 1 << 16
"""Bytes that are read at once from a body of unknown length."""


def expect_type(*accepted: str) -> str:
    """Return the media type of the body; 415 unless it is accepted."""
    if (got := request.environ.get("CONTENT_TYPE", "")) not in accepted:
        got = request.mimetype or "none"
    if got not in accepted:
        raise Problem(
            415,
            f"The Content-Type is {got}; this address takes {', '.join(accepted)}.",
            headers={f"Accept-{request.method.title()}": ", ".join(accepted)},
        )
    read_coding()
    return cast("str", got)


def read_coding() -> Compression | None:
    """Return the compression of the body, None if there is none; 415 for an unknown one."""
    # RFC 9110: a recipient should take x-gzip for gzip.
    header: str = request.environ.get("HTTP_CONTENT_ENCODING", "")
    coding = header.strip().lower().removeprefix("x-")
    if coding in ("", "identity"):
        return None
    compression = next((known for known in COMPRESSIONS if known == coding), None)
    if compression is None:
        taken = ", ".join(COMPRESSIONS)
        detail = f"The Content-Encoding is {coding[:40]}; one of these is taken: {taken}."
        raise Problem(415, detail, headers={"Accept-Encoding": taken})
    return compression


def make_reader_limits() -> ReadLimits:
    """Make the limits of the file readers from those in force."""
    most = limits_in_force()
    return ReadLimits(
        max_columns=most.columns,
        max_rows=most.rows,
        max_curves=most.curves,
        max_bytes=most.unpacked_bytes,
        expansion=most.expansion,
        max_sheet_bytes=most.sheet_bytes,
        memory_bytes=most.read_memory_bytes,
        seconds=most.read_seconds,
        processes=cores(),
        max_files=most.files,
        files_seconds=most.files_seconds,
    )


def read_json_body() -> bytes:
    """Read the whole body; 413 if it is longer than a JSON body may be."""
    in_force = limits_in_force()
    most = min(in_force.json_body_bytes, in_force.body_bytes)
    # werkzeug cuts a chunked body silently at its maximum, so one byte more tells a long body.
    request.max_content_length = most + 1
    length = request.content_length or 0
    if 0 < length <= min(most, _PIECE) and read_coding() is None:
        return _read_small_body(request.environ["wsgi.input"], length)
    read = io.BytesIO()
    more = b"" if length > most else request.stream.read(length or _PIECE)
    while more and read.tell() <= most:
        read.write(more)
        more = request.stream.read(_PIECE)
    if max(length, read.tell()) <= most:
        return read.getvalue()
    raise Problem(413, f"A JSON body may have {most} bytes; send a CSV file instead.")


def _read_small_body(stream: IO[bytes], length: int) -> bytes:
    """Read a small body without werkzeug's stream, whose overhead would dominate."""
    try:
        data = stream.read(length)
    except OSError:
        raise ClientDisconnected from None
    if len(data) < length:
        raise ClientDisconnected
    return data


class BoundedRequest(Request):
    """A request whose body is decompressed and whose form files are spooled to the disk.

    werkzeug takes a truncated form for an empty one; here it is an error.
    """

    @functools.cached_property
    def stream(self) -> IO[bytes]:
        stream = super().stream
        coding = read_coding()
        if coding is None:
            return stream
        return cast("IO[bytes]", Unpacked(cast("BinaryIO", stream), coding, make_reader_limits()))

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        return self._form_files.begin()

    @functools.cached_property
    def _form_files(self) -> FormFiles:
        return FormFiles()

    def close(self) -> None:
        """Close the files of the form, even if it was refused."""
        super().close()
        if "_form_files" in self.__dict__:
            self._form_files.close()

    def make_form_data_parser(self) -> FormDataParser:
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser
