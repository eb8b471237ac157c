"""Bodies of requests: their type, their coding, their size."""

from __future__ import annotations

import functools
import io
from typing import IO, Any, BinaryIO, cast

from flask import Request, request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.formparser import FormDataParser

from api import jsonbody
from api.errors import Problem
from api.inforce import limits
from api.processes import cores
from services.files import ReadLimits
from services.files.compressed import CODINGS, Unpacked
from services.scratch import scratch


def parse_json(data: bytes) -> Any:
    """The value of a JSON text; 400 where it is none, or gives one name two values."""
    try:
        return jsonbody.parse(data, limits())
    except jsonbody.JSONError as error:
        raise Problem(error.status, error.detail, error.facts) from None


_IN_MEMORY = 1 << 19
"""Bytes of the file of a form that are kept in memory; one more, and all of it is a file."""


_PIECE = 1 << 16
"""Bytes that are read in one go where it is not known how many there are."""


def expect_type(*accepted: str) -> str:
    """The media type of the body; 415 unless it is one of these."""
    if (got := request.environ.get("CONTENT_TYPE", "")) not in accepted:
        got = request.mimetype or "none"
    if got not in accepted:
        raise Problem(
            415,
            f"The Content-Type is {got}; this address takes {', '.join(accepted)}.",
            headers={f"Accept-{request.method.title()}": ", ".join(accepted)},
        )
    body_coding()
    return cast("str", got)


def body_coding() -> str | None:
    """How the body is packed, None if it is not; 415 for what cannot be unpacked."""
    # RFC 9110: a recipient should take x-gzip for gzip.
    header: str = request.environ.get("HTTP_CONTENT_ENCODING", "")
    coding = header.strip().lower().removeprefix("x-")
    if coding in ("", "identity"):
        return None
    if coding not in CODINGS:
        taken = ", ".join(CODINGS)
        detail = f"The Content-Encoding is {coding[:40]}; one of these is taken: {taken}."
        raise Problem(415, detail, headers={"Accept-Encoding": taken})
    return coding


def read_limits() -> ReadLimits:
    """The limits in force, in the words of the readers."""
    most = limits()
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
    )


def json_body() -> bytes:
    """The whole body, unless it is longer than a JSON body may be."""
    in_force = limits()
    most = min(in_force.json_body_bytes, in_force.body_bytes)
    # A chunked body ends without a word where it may not go on, so it may have one byte more.
    request.max_content_length = most + 1
    length = request.content_length or 0
    if 0 < length <= min(most, _PIECE) and body_coding() is None:
        return _at_once(request.environ["wsgi.input"], length)
    read = io.BytesIO()
    more = b"" if length > most else request.stream.read(length or _PIECE)
    while more and read.tell() <= most:
        read.write(more)
        more = request.stream.read(_PIECE)
    if max(length, read.tell()) <= most:
        return read.getvalue()
    raise Problem(413, f"A JSON body may have {most} bytes; send a CSV file instead.")


def _at_once(stream: IO[bytes], length: int) -> bytes:
    """A small body without the library's stream, which takes longer than all else here."""
    try:
        data = stream.read(length)
    except OSError:
        raise ClientDisconnected from None
    if len(data) < length:
        raise ClientDisconnected
    return data


class BoundedRequest(Request):
    """A request whose body is unpacked, and whose form ends and lies on the disk.

    The library takes a form that is cut off for an empty one, and one that is packed for a small
    one, whose files it would keep in memory.
    """

    @functools.cached_property
    def stream(self) -> IO[bytes]:
        stream = super().stream
        coding = body_coding()
        if coding is None:
            return stream
        return cast("IO[bytes]", Unpacked(cast("BinaryIO", stream), coding, read_limits()))

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        stream = cast("IO[bytes]", scratch.spooled(_IN_MEMORY))
        self._made.append(stream)
        return stream

    @functools.cached_property
    def _made(self) -> list[IO[bytes]]:
        """Files of the form, also of one that is refused before its end."""
        return []

    def _load_form_data(self) -> None:
        try:
            super()._load_form_data()
        except BaseException:
            for stream in self._made:
                stream.close()
            raise

    def make_form_data_parser(self) -> FormDataParser:
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser
