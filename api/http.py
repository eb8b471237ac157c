"""What HTTP needs that the libraries do otherwise: one place for every override.

docs/adr/0006 lists the stock behaviours that these replace.
"""

from __future__ import annotations

import base64
import binascii
import functools
import http
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO, Any, BinaryIO, cast
from urllib.parse import urlencode

import marshmallow as ma
import orjson
from flask import Flask, Request, Response, g, request
from flask_smorest import Api, Blueprint
from flask_smorest.utils import unpack_tuple_response
from sqlalchemy.orm import Session
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import ClientDisconnected
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_accept_header

from api import inforce, jsonbody, metrics
from api.document import OFFERED, finish
from api.errors import PROBLEM_JSON, Problem, as_problem, request_id
from api.headers import protect
from api.processes import cores
from api.running import running
from api.schemas.base import LARGEST, MOST_FACTS, ProblemReply
from api.store.base import Database, Page, Record, page_of
from services.errors import Fact
from services.files import ReadLimits
from services.files.compressed import CODINGS, Unpacked
from services.scratch import scratch

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
HTML = "text/html"

Handler = Callable[..., Any]


def database() -> Database:
    """The database of the running app."""
    return running().database


limits = inforce.limits


# ---- JSON ----------------------------------------------------------------------------------


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


# ---- Arguments -----------------------------------------------------------------------------


def read_body(schema: ma.Schema) -> Any:
    """The fields of a JSON body."""
    expect_type(JSON, *((MERGE_PATCH,) if request.method == "PATCH" else ()))
    return load(schema, parse_json(json_body()), "json")


def read_query(schema: ma.Schema) -> Any:
    """The fields of the query; 422 for a repeated one, unless it is a list."""
    given = dict(request.args.lists())
    many = {name for name in given if isinstance(schema.fields.get(name), ma.fields.List)}
    repeated = [name for name, values in given.items() if len(values) > 1 and name not in many]
    if repeated:
        raise invalid({name: ["Given more than once."] for name in repeated}, "query")
    fields = {name: values if name in many else values[0] for name, values in given.items()}
    return load(schema, fields, "query")


_READERS = {"json": read_body, "query": read_query}


def load(schema: ma.Schema, data: Any, location: str) -> Any:
    """The fields as the schema wants them, or 422."""
    try:
        return schema.load(data)
    except ma.ValidationError as error:
        raise invalid(error.messages, location) from None


def invalid(messages: Any, location: str = "json") -> Problem:
    """422 from marshmallow's nested messages."""
    facts = list(itertools.islice(_facts(messages, (), location), MOST_FACTS))
    return Problem(422, facts[0].detail if facts else "The request does not fit.", facts)


_CODES = {
    "Missing data for required field.": "required",
    "Unknown field.": "unknown_field",
    "Field may not be null.": "null",
}


def _facts(messages: Any, path: tuple[str, ...], location: str) -> Iterator[Fact]:
    if isinstance(messages, dict):
        for key, value in messages.items():
            name = jsonbody.shorten(str(key))
            yield from _facts(value, path if key == "_schema" else (*path, name), location)
        return
    for message in messages:
        if isinstance(message, Fact):
            yield message
            continue
        if isinstance(message, dict):
            yield from _facts(message, path, location)
            continue
        code = _CODES.get(message, "invalid")
        if location == "json":
            steps = (step.replace("~", "~0").replace("/", "~1") for step in path)
            pointer = "".join(f"/{step}" for step in steps)
            yield Fact(f"{pointer or 'The body'}: {message}", code, pointer=pointer)
        else:
            name = path[0] if path else location
            yield Fact(f"{name}: {message}", code, parameter=name)


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


# ---- Negotiation, versions, pages ----------------------------------------------------------


def negotiate(*offered: str) -> str:
    """The media type of the reply; 406 names what there is."""
    g.media = best = _best(request.environ.get("HTTP_ACCEPT", ""), offered)
    if best is None:
        raise Problem(406, f"This address has {', '.join(offered)}.")
    return best


@functools.lru_cache(maxsize=256)
def _best(accept: str, offered: tuple[str, ...]) -> str | None:
    """The offered type that an Accept header likes best; clients send the same one all day."""
    asked = parse_accept_header(accept, MIMEAccept)
    if not asked:
        return offered[0]
    # What we send has no parameters but charset, so a client that asks for one means the type.
    accepted = [(kind.partition(";")[0].strip(), q) for kind, q in asked]
    return MIMEAccept(accepted).best_match(offered)


def etag(version: int) -> str:
    """Values never change and records change only with their version, so it is the tag."""
    return f'"{version}"'


def not_modified(version: int) -> Response | None:
    """304 if the client has this version; weak and strong tags compare alike (RFC 9110)."""
    tags = request.if_none_match
    known = tags.star_tag or tags.contains_weak(str(version))
    return Response(status=304, headers={"ETag": etag(version)}) if known else None


def if_match(*, required: bool) -> frozenset[int] | None:
    """The versions the client knows, None for any; 428 if it must say one and does not."""
    header = request.headers.get("If-Match")
    if header is None and required:
        raise Problem(428, "Send If-Match with the ETag of the record you read, or *.")
    if header is None or header.strip() == "*":
        return None
    # A tag that we never gave is no version; a weak one never matches (RFC 9110).
    tags = (tag or "" for tag in request.if_match.as_set())
    return frozenset(int(tag) for tag in tags if _VERSION.fullmatch(tag))


_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def records_page(session: Session, model: type[Record], query: dict[str, Any]) -> Page:
    """The page of records that the query of a list asks for."""
    sort = query.pop("sort")
    kind = str if sort.endswith("name") else datetime
    cursor = decode_cursor(query.pop("cursor"), str, kind, str)
    if cursor and cursor.pop(0) != sort:
        raise _foreign_cursor()
    limit = query.pop("limit")
    page = page_of(session, model, filters=query, sort=sort, after=cursor, limit=limit)
    return replace(page, next=page.next and [sort, *page.next])


def listing(page: Page, items: Sequence[Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The one shape of lists, and the Link to the next page."""
    cursor = encode_cursor(page.next)
    headers = {}
    if cursor is not None:
        query = [(k, v) for k, v in request.args.items(multi=True) if k != "cursor"]
        target = f"{request.script_root}{request.path}?{urlencode([*query, ('cursor', cursor)])}"
        headers["Link"] = f'<{target}>; rel="next"'
    return {"items": items, "next": cursor}, headers


def encode_cursor(key: Sequence[Any] | None) -> str | None:
    """A key as an opaque word; None stays None."""
    if key is None:
        return None
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode_cursor(text: str | None, *kinds: type) -> list[Any] | None:
    """The key of a cursor that we gave; 422 for any other."""
    if text is None:
        return None
    try:
        key = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(key, list) or len(key) != len(kinds):
            raise ValueError  # noqa: TRY301 - every wrong cursor ends alike
        return [_cursor_part(part, kind) for part, kind in zip(key, kinds, strict=True)]
    except (ValueError, TypeError, OverflowError, binascii.Error):
        raise _foreign_cursor() from None


def _foreign_cursor() -> Problem:
    detail = "cursor: not one that this list gave; start again without it."
    return Problem(422, detail, [Fact(detail, "invalid", parameter="cursor")])


def _cursor_part(part: Any, kind: type) -> Any:
    if kind is datetime:
        moment = datetime.fromisoformat(part)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    if type(part) is not kind or part == "" or "\0" in str(part):
        raise ValueError
    if isinstance(part, int) and not 0 <= part <= LARGEST:
        raise ValueError
    return part


# ---- Rooms and the OpenAPI document --------------------------------------------------------


ALWAYS = frozenset({414, 431, 500, 503, 507})
"""Errors that every operation documents: those of the server, of its database and of its disk."""


class Room(Blueprint):
    """The routes of one noun: strict in query and Accept, documented by their decorators.

    The library's decorators only document; what runs at a call is ours (docs/adr/0011). The name
    of a function is its operationId.
    """

    def __init__(self, name: str, *, prefix: str, description: str) -> None:
        super().__init__(name, name, url_prefix=prefix, description=description)

    def arguments(
        self,
        schema: type[ma.Schema],
        *,
        location: str = "json",
        read: Callable[[ma.Schema], Any] | None = None,
        **options: Any,
    ) -> Any:
        """Read the body or the query, with `read` or as usual; the handler gets its fields."""
        # One instance for all requests: making one copies every field.
        shape = schema()
        read_fields = read or _READERS[location]
        documents = super().arguments(shape, location=location, **options)

        def decorator(function: Handler) -> Handler:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(*args, read_fields(shape), **kwargs)

            return _document(documents, wrapper)

        return decorator

    def response(self, status: int, schema: Any = None, **options: Any) -> Any:
        """Send the fields of a schema as JSON; a Response of the handler goes as it is."""
        written = isinstance(schema, type)
        shape = schema() if written else schema
        documents = super().response(status, shape, **options)

        def decorator(function: Handler) -> Handler:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return reply(function(*args, **kwargs), status, shape)

            return _document(documents, wrapper if written else function)

        return decorator

    def alt_response(self, *args: Any, **kwargs: Any) -> Any:
        return functools.partial(_document, super().alt_response(*args, **kwargs))

    def doc(self, **kwargs: Any) -> Any:
        return functools.partial(_document, super().doc(**kwargs))

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Any = None,
        provide_automatic_options: bool | None = None,  # noqa: FBT001
        **options: Any,
    ) -> None:
        words = view_func.__name__.split("_")
        identifier = words[0] + "".join(word.title() for word in words[1:])
        parameters = getattr(view_func, "_apidoc", {}).get("arguments", {}).get("parameters", [])
        if not any(parameter["in"] == "query" for parameter in parameters):
            view_func = self.problems(422)(_without_query(view_func))
        if not hasattr(view_func, "offered") and options.get("methods") != ["DELETE"]:
            view_func = self.offers(JSON)(view_func)
        view_func = self.problems(*_refusals(self.url_prefix or rule, options))(view_func)
        view_func = self.doc(operationId=identifier)(view_func)
        super().add_url_rule(rule, endpoint, view_func, provide_automatic_options, **options)

    def offers(self, *formats: str) -> Callable[[Handler], Handler]:
        """Choose the format of the reply by Accept; the handler finds it in `g.media`."""

        def decorator(function: Handler) -> Handler:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                negotiate(*formats)
                return function(*args, **kwargs)

            wrapper.offered = formats  # type: ignore[attr-defined]
            documented = self.problems(406)(wrapper)
            return cast("Handler", self.doc(**{OFFERED: list(formats)})(documented))

        return decorator

    def conditional(self, function: Handler) -> Handler:
        """Document If-None-Match and 304."""
        parameter = _header("If-None-Match", "ETag of the version you have; 304 if it is current.")
        function = self.alt_response(304, description="Not modified.")(function)
        return cast("Handler", self.doc(parameters=[parameter])(function))

    def patches(
        self, schema: type[ma.Schema], example: dict[str, Any]
    ) -> Callable[[Handler], Handler]:
        """A merge patch as JSON or merge-patch+json, with If-Match."""
        parameter = _if_match("ETag of the version you read, or *. 428 without it.")
        content = {kind: {"schema": schema, "example": example} for kind in (MERGE_PATCH, JSON)}

        def decorator(function: Handler) -> Handler:
            function = self.problems(400, 404, 412, 413, 415, 422, 428)(function)
            function = self.arguments(schema, location="json")(function)
            body = {"required": True, "content": content}
            return cast("Handler", self.doc(parameters=[parameter], requestBody=body)(function))

        return decorator

    def deletes(self, function: Handler) -> Handler:
        """Document If-Match and the errors of DELETE."""
        return self.matches("Delete this version only.")(self.problems(404, 409)(function))

    def matches(self, description: str) -> Callable[[Handler], Handler]:
        """Document an If-Match that may be left out."""

        def decorator(function: Handler) -> Handler:
            function = self.problems(412)(function)
            return cast("Handler", self.doc(parameters=[_if_match(description)])(function))

        return decorator

    def problems(self, *statuses: int) -> Callable[[Handler], Handler]:
        """Document the errors of an operation."""

        def decorator(function: Handler) -> Handler:
            for status in statuses:
                function = self.alt_response(status, http.HTTPStatus(status).name)(function)
            return function

        return decorator


def _refusals(path: str, options: dict[str, Any]) -> set[int]:
    """Errors of any operation on this path with these methods, before its handler is called."""
    # A Host that is malformed or not ours; and a page of another origin (api/origins.py).
    by_host = set() if path.startswith("/health/") else {400, 421}
    by_page = set() if set(options.get("methods", ())) <= {"GET"} else {403}
    return by_host | by_page | ALWAYS


def _document(decorator: Any, function: Handler) -> Handler:
    """Document a handler as a decorator of the library does, without its wrapper."""
    function._apidoc = decorator(function)._apidoc  # type: ignore[attr-defined] # noqa: SLF001 - where the library keeps it
    return function


def reply(result: Any, status: int, schema: ma.Schema) -> Response:
    """What a handler returned as JSON: a body, with headers or a status of its own if it likes."""
    if isinstance(result, Response):
        return result
    body, own_status, headers = unpack_tuple_response(result)
    data = orjson.dumps(schema.dump(body), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(data, own_status or status, headers, content_type=JSON)


def _without_query(function: Handler) -> Handler:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if request.environ.get("QUERY_STRING") and request.args:
            raise invalid({name: ["Unknown field."] for name in request.args}, "query")
        return function(*args, **kwargs)

    return wrapper


# ---- Documentation of headers --------------------------------------------------------------

ETAG = {"ETag": {"description": "Version of the record.", "schema": {"type": "string"}}}
LOCATION = {"Location": {"description": "The new record.", "schema": {"type": "string"}}}
RETRY = {
    "Retry-After": {
        "description": "Seconds until it is worth trying or looking again.",
        "schema": {"type": "integer"},
    }
}
ERROR_HEADERS = RETRY | {
    "X-Request-ID": {
        "description": "Id of the request, also in the log.",
        "schema": {"type": "string"},
    }
}
HEADERS_OF = {503: ("Retry-After",)}
"""Headers of an error beside its id."""

EARLY = {
    414: "The address is longer than the server reads. Said before the request is one of ours.",
    431: "The header fields are longer than the server reads. Said before the request is ours.",
}
"""Errors that the server answers with a page of its own."""

SQLITE = "application/vnd.sqlite3"
LINK = {"Link": {"description": "rel=next, if there is more.", "schema": {"type": "string"}}}


def _header(name: str, description: str) -> dict[str, Any]:
    return {
        "in": "header",
        "name": name,
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }


def _if_match(description: str) -> dict[str, Any]:
    header = _header("If-Match", description)
    header["schema"]["pattern"] = _TAGS
    return header


# RFC 9110: an asterisk, or entity tags with commas between them.
_TAG = r'(W/)?"[^"]*"'
_TAGS = rf"^(\*|{_TAG}(\s*,\s*{_TAG})*)$"


class Document(Api):
    """The OpenAPI document: our problems instead of the library's errors."""

    ERROR_SCHEMA = ProblemReply
    DEFAULT_ERROR_RESPONSE_NAME = None

    @functools.cached_property
    def finished(self) -> dict[str, Any]:
        """The whole document, once all rooms are registered."""
        return finish(self.spec.to_dict())

    def _register_error_handlers(self) -> None:
        """`api.errors` answers every error."""

    def _register_responses(self) -> None:
        for name, header in ERROR_HEADERS.items():
            self.spec.components.header(name, header)
        for status in http.HTTPStatus:
            if status >= http.HTTPStatus.BAD_REQUEST:
                self.spec.components.response(status.name, _error(self, status), lazy=True)


def _error(document: Document, status: http.HTTPStatus) -> dict[str, Any]:
    """An error as the document describes it."""
    if status in EARLY:
        return {"description": EARLY[status]}
    content = {PROBLEM_JSON: {"schema": document.ERROR_SCHEMA, "example": _example(status)}}
    names = ["X-Request-ID", *HEADERS_OF.get(status, ())]
    return {"description": status.phrase, "headers": {n: n for n in names}, "content": content}


def _example(status: http.HTTPStatus) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": status.description or status.phrase,
        "errors": [],
        "request_id": "3f2b8c1e9d4a4f0c8b7a6d5e4c3b2a19",
    }


class Service(Flask):
    """Flask with what every request and reply of ours has."""

    request_class = BoundedRequest

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Nothing: no function of ours is asynchronous, and looking takes 1 us each time."""
        return func

    def process_response(self, response: Response) -> Response:
        if response.status_code >= http.HTTPStatus.BAD_REQUEST:
            response = as_problem(response)
        response = super().process_response(response)
        protect(response)
        headers = response.headers
        headers.add("X-Request-ID", request_id())
        if rule := request.url_rule:
            request.environ[metrics.ROUTE] = metrics.template(rule.rule)
        if "media" in g:
            if "Vary" in headers:
                response.vary.add("Accept")
            else:
                headers.add("Vary", "Accept")
        return response
