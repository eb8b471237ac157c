"""An uploaded file, and its format: what its sender says must agree with what it holds."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from flask import request
from werkzeug.datastructures import FileStorage

from api import slots
from api.errors import Problem
from api.http.bodies import read_coding
from api.http.form_files import FormFile
from api.http.media import JSON, OCTETS, TSV, ZIP
from api.limits import limits_in_force
from services.errors import Fact, InvalidTable
from services.files.compressed import Unpacked
from services.files.formats import (
    COMPRESSION_OF_SUFFIX,
    DECLARED_BY_MEDIA_TYPE,
    DECLARED_BY_SUFFIX,
    FILE_NAMES,
    FORMAT_OF_CONTENT,
    HEAD_BYTES,
    Compression,
    Content,
    Declared,
    Format,
    recognize,
)
from services.files.limits import ReadLimits

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FILE_TYPES = (*(media for media in DECLARED_BY_MEDIA_TYPE if media != JSON), ZIP, OCTETS)
"""Media types of a body that is a file."""

_CALLED = "called *"
"""Beginning of the description of a file that has a name."""

_SAYS_NOTHING = (f"declared as {OCTETS}",)
"""Descriptions of a body that say nothing about its format."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """Bytes, and what their sender says of them.

    `declared` is None if the sender says nothing; `description` tells how it was said, as part of
    a sentence. `size` is in bytes, as it was sent; `parameters` are those of the media type.
    """

    stream: BinaryIO
    declared: Declared | None
    description: str
    compression: Compression | None
    size: int
    parameters: Mapping[str, str]


def file_of_body(media_type: str) -> UploadedFile:
    """Return the body of this request as a file."""
    compression = read_coding()
    size = slots.receive(limits_in_force().body_bytes)
    stream = cast("BinaryIO", request.stream)
    declared = DECLARED_BY_MEDIA_TYPE.get(media_type)
    described = f"declared as {media_type}"
    return UploadedFile(stream, declared, described, compression, size, request.mimetype_params)


def file_of_part(part: FileStorage, limits: ReadLimits) -> UploadedFile:
    """Return a part of a form as a file, unpacked by its suffix."""
    stream = cast("FormFile", part.stream)
    path, media_type, parameters = path_of_part(part), part.mimetype, part.mimetype_params
    return describe_file(stream.detach(), path, stream.size, limits, media_type, parameters)


def path_of_part(part: FileStorage) -> str:
    """Return the path of a file in a form, with slashes."""
    return (part.filename or "").replace("\\", "/")


def describe_file(  # noqa: PLR0913, PLR0917 - all that is known of a file
    stream: BinaryIO,
    path: str,
    size: int,
    limits: ReadLimits,
    media_type: str = "",
    parameters: Mapping[str, str] | None = None,
) -> UploadedFile:
    """Return a file with a name, unpacked by its suffix."""
    name = PurePosixPath(path)
    compression = COMPRESSION_OF_SUFFIX.get(name.suffix.lower())
    if compression:
        head, stream = peek(stream)
        content = recognize(head)
        if content is not Content(compression):
            raise contradiction(f"called *{name.suffix}", content)
        stream = cast("BinaryIO", Unpacked(stream, compression, limits))
        name = PurePosixPath(name.stem)
    declared, description = _declared(name.suffix.lower(), media_type)
    compression = compression or read_coding()
    return UploadedFile(stream, declared, description, compression, size, parameters or {})


def _declared(suffix: str, media_type: str) -> tuple[Declared | None, str]:
    """Tell what the name and the media type of a part say, and how."""
    by_name, by_type = DECLARED_BY_SUFFIX.get(suffix), DECLARED_BY_MEDIA_TYPE.get(media_type)
    # The name decides, unless the type says TSV: clients guess the type by the name, and of Arrow
    # they know one type only.
    if by_type and (by_name is None or media_type == TSV):
        return by_type, f"{_CALLED}{suffix}"
    return by_name, f"{_CALLED}{suffix}"


def find_format(file: UploadedFile, head: bytes, encoding: str | None) -> Format:
    """Return the format of a file; 415 if its content is none, or not what its body is declared.

    A name says nothing against the content: instruments call a text what they like. UTF-16 without
    a mark looks like no text, so `encoding` has to say it.
    """
    if not head:
        raise InvalidTable("The file is empty.", [Fact("The file is empty.", "no_rows")])
    content = recognize(head)
    if content is Content.BINARY and encoding == "utf-16":
        content = Content.TEXT
    if file.declared is not None and content in file.declared.contents:
        return file.declared.format
    is_open = file.description.startswith(_CALLED) or file.description in _SAYS_NOTHING
    if is_open and content in FORMAT_OF_CONTENT:
        return FORMAT_OF_CONTENT[content]
    raise contradiction(file.description, content)


def may_be_archive(file: UploadedFile, head: bytes) -> bool:
    """Tell whether a file can be an archive of files, by its first bytes.

    A workbook begins in the same way; a body that is declared as one is not looked into.
    """
    is_open = file.declared is None or file.description.startswith(_CALLED)
    return is_open and recognize(head) is Content.ZIP


def contradiction(description: str, content: Content) -> Problem:
    """Make a 415 for a file that does not hold what is said of it."""
    return _refusal(f"The file is {description}, but what it holds is {content.value}.")


def _refusal(detail: str) -> Problem:
    accepted = {"Accept-Post": ", ".join(FILE_TYPES)}
    return Problem(415, f"{detail} {FILE_NAMES} are taken.", headers=accepted)


def peek(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Return the first bytes of a stream, and the stream from its beginning."""
    head = b""
    while len(head) < HEAD_BYTES and (more := stream.read(HEAD_BYTES)):
        head += more
    if stream.seekable():
        stream.seek(0)
        return head, stream
    return head, cast("BinaryIO", _Peeked(head, stream))


class _Peeked(io.RawIOBase):
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
