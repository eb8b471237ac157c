"""What HTTP needs that the libraries do otherwise: one place for every override.

docs/adr/0006 lists the stock behaviours that these replace.
"""

from __future__ import annotations

import base64
import binascii
import functools
import http
import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlencode

import marshmallow as ma
import orjson
from flask import Request, Response, current_app, g, request
from flask.json.provider import JSONProvider
from flask_smorest import Api, Blueprint
from gunicorn.http.errors import ParseException
from sqlalchemy.orm import Session
from webargs.flaskparser import FlaskParser
from werkzeug.datastructures import MIMEAccept
from werkzeug.formparser import FormDataParser

from api.config import Limits
from api.errors import PROBLEM_JSON, Problem
from api.schemas.base import LARGEST, ProblemReply
from api.store.base import Database, Page, Record, page_of
from services.errors import Fact

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
CSV = "text/csv"
CSV_UTF8 = "text/csv; charset=utf-8"
HTML = "text/html"

Handler = Callable[..., Any]


def database() -> Database:
    """The database of the running app."""
    return cast("Database", current_app.extensions["idealfit.database"])


def limits() -> Limits:
    """The limits of the running app."""
    return cast("Limits", current_app.extensions["idealfit.limits"])


# ---- JSON ----------------------------------------------------------------------------------


class OrjsonProvider(JSONProvider):
    """orjson both ways: NaN never leaves (it is null), and never enters."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        body = orjson.dumps(self._prepare_response_obj(args, kwargs))
        return Response(body, content_type=JSON)


def parse_json(data: bytes) -> Any:
    """The value of a JSON text; 400 where it is none, or gives one name two values."""
    if not data:
        raise Problem(400, "The body is empty; send a JSON object.")
    try:
        value = orjson.loads(data)
        strings = _strings(value, limits().json_depth)
        # More quotes than names and strings: escaped ones, or a name given twice, which orjson
        # would drop without a word. And it reads -0 as 0. The slow parser tells.
        if data.count(b'"') != 2 * strings or _MINUS_ZERO.search(data):
            value = json.loads(data, object_pairs_hook=_unique, parse_int=_whole)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None
    except RecursionError:
        # Deep inside an array of numbers, where `_strings` does not look.
        raise _too_deep() from None
    return value


def _too_deep() -> Problem:
    return Problem(422, f"The body is nested deeper than {limits().json_depth} levels.")


_MINUS_ZERO = re.compile(rb"-0(?![.eE0-9])")


def _whole(digits: str) -> int | float:
    """As orjson, but for -0: a float where 64 bits hold no such integer."""
    whole = int(digits)
    return whole if digits != "-0" and -(2**63) <= whole < 2**64 else float(digits)


def _strings(value: Any, depth: int) -> int:
    """How many names and strings a value holds; arrays of numbers are not looked into."""
    if not isinstance(value, dict | list):
        return int(isinstance(value, str))
    if depth == 0:
        raise _too_deep()
    if isinstance(value, dict):
        return len(value) + sum(_strings(inner, depth - 1) for inner in value.values())
    if value and _is_number(value[0]):
        return 0
    return sum(_strings(inner, depth - 1) for inner in value)


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(
            400,
            f"The name {twice!r} stands twice in one JSON object; names must be unique.",
            [Fact(f"{twice!r} stands twice.", "duplicate_name", column=twice)],
        )
    return found


# ---- Arguments -----------------------------------------------------------------------------


class Parser(FlaskParser):
    """Strict arguments: orjson, 415 for another type, no unknown or repeated parameter."""

    DEFAULT_UNKNOWN_BY_LOCATION = dict.fromkeys(
        ("json", "query", "form", "files", "headers", "cookies"), ma.RAISE
    )

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        del schema
        expect_type(JSON, *((MERGE_PATCH,) if req.method == "PATCH" else ()))
        return parse_json(json_body())

    def load_querystring(self, req: Request, schema: ma.Schema) -> Any:
        repeated = [
            name
            for name, values in req.args.lists()
            if len(values) > 1 and not isinstance(schema.fields.get(name), ma.fields.List)
        ]
        if repeated:
            raise ma.ValidationError({name: ["Given more than once."] for name in repeated})
        return super().load_querystring(req, schema)

    def handle_error(
        self, error: ma.ValidationError, req: Request, schema: ma.Schema, **_: Any
    ) -> Any:
        del req, schema
        location, messages = next(iter(error.messages_dict.items()))
        raise invalid(messages, location)


def invalid(messages: Any, location: str = "json") -> Problem:
    """422 from marshmallow's nested messages."""
    facts = list(_facts(messages, (), location))
    return Problem(422, facts[0].detail if facts else "The request does not fit.", facts[:50])


_CODES = {
    "Missing data for required field.": "required",
    "Unknown field.": "unknown_field",
    "Field may not be null.": "null",
}


def _facts(messages: Any, path: tuple[str, ...], location: str) -> Iterator[Fact]:
    if isinstance(messages, dict):
        for key, value in messages.items():
            yield from _facts(value, path if key == "_schema" else (*path, str(key)), location)
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
    if request.mimetype not in accepted:
        got = request.mimetype or "none"
        raise Problem(
            415,
            f"The Content-Type is {got}; this address takes {', '.join(accepted)}.",
            headers={f"Accept-{request.method.title()}": ", ".join(accepted)},
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Compressed bodies are not taken yet; send it without Content-Encoding.")
    return request.mimetype


def json_body() -> bytes:
    """The whole body, unless it is longer than a JSON body may be."""
    most = min(limits().json_body_bytes, limits().body_bytes)
    # A chunked body ends without a word where it may not go on, so it may have one byte more.
    request.max_content_length = most + 1
    if (request.content_length or 0) > most or len(data := request.get_data(cache=False)) > most:
        raise Problem(413, f"A JSON body may have {most} bytes; send a CSV file instead.")
    return data


class WholeForms(Request):
    """A request whose form ends: the library takes one that is cut off for an empty one."""

    def make_form_data_parser(self) -> FormDataParser:
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser


# ---- Negotiation, versions, pages ----------------------------------------------------------


def negotiate(*offered: str) -> str:
    """The media type of the reply; 406 names what there is."""
    g.media = None  # From here on the reply depends on Accept, 406 too.
    if not request.accept_mimetypes:
        return offered[0]
    # What we send has no parameters but charset, so a client that asks for one means the type.
    accepted = [(kind.partition(";")[0].strip(), q) for kind, q in request.accept_mimetypes]
    best = MIMEAccept(accepted).best_match(offered)
    if best is None:
        raise Problem(406, f"This address has {', '.join(offered)}.")
    return best


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


def csv_reply(lines: Iterator[bytes], stem: str, headers: dict[str, str] | None = None) -> Response:
    """Rows as a CSV file, sent as they are made."""
    disposition = {"Content-Disposition": f'attachment; filename="{stem}.csv"'}
    return Response(lines, content_type=CSV_UTF8, headers=disposition | (headers or {}))


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
        target = f"{request.path}?{urlencode([*query, ('cursor', cursor)])}"
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


class Room(Blueprint):
    """The routes of one noun: strict in query and Accept, documented by their decorators.

    The name of a function is its operationId.
    """

    ARGUMENTS_PARSER = Parser()

    def __init__(self, name: str, *, prefix: str, description: str) -> None:
        super().__init__(name, name, url_prefix=prefix, description=description)

    def arguments(self, schema: Any, **options: Any) -> Any:
        # One instance for all requests: making one copies every field.
        return super().arguments(schema() if isinstance(schema, type) else schema, **options)

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
        view_func = self.doc(operationId=identifier)(view_func)
        super().add_url_rule(rule, endpoint, view_func, provide_automatic_options, **options)

    def offers(self, *formats: str) -> Callable[[Handler], Handler]:
        """Choose the format of the reply by Accept; the handler finds it in `g.media`."""

        def decorator(function: Handler) -> Handler:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                g.media = negotiate(*formats)
                return function(*args, **kwargs)

            wrapper.offered = formats  # type: ignore[attr-defined]
            return self.problems(406)(wrapper)

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
        parameter = _header("If-Match", "ETag of the version you read, or *. 428 without it.")
        content = {kind: {"schema": schema, "example": example} for kind in (MERGE_PATCH, JSON)}

        def decorator(function: Handler) -> Handler:
            function = self.problems(400, 404, 412, 413, 415, 422, 428)(function)
            function = self.arguments(schema, location="json")(function)
            body = {"required": True, "content": content}
            return cast("Handler", self.doc(parameters=[parameter], requestBody=body)(function))

        return decorator

    def deletes(self, function: Handler) -> Handler:
        """Document If-Match and the errors of DELETE."""
        parameter = _header("If-Match", "Delete this version only.")
        function = self.problems(404, 409, 412)(function)
        return cast("Handler", self.doc(parameters=[parameter])(function))

    def problems(self, *statuses: int) -> Callable[[Handler], Handler]:
        """Document the errors of an operation."""

        def decorator(function: Handler) -> Handler:
            for status in statuses:
                function = self.alt_response(status, http.HTTPStatus(status).name)(function)
            return function

        return decorator


def _without_query(function: Handler) -> Handler:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if request.args:
            raise invalid({name: ["Unknown field."] for name in request.args}, "query")
        return function(*args, **kwargs)

    return wrapper


# ---- Documentation of headers --------------------------------------------------------------

ETAG = {"ETag": {"description": "Version of the record.", "schema": {"type": "string"}}}
LOCATION = {"Location": {"description": "The new record.", "schema": {"type": "string"}}}
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


class Document(Api):
    """The OpenAPI document: our problems instead of the library's errors."""

    ERROR_SCHEMA = ProblemReply
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        """`api.errors` answers every error."""

    def _register_responses(self) -> None:
        for status in http.HTTPStatus:
            if status >= http.HTTPStatus.BAD_REQUEST:
                content = {PROBLEM_JSON: {"schema": self.ERROR_SCHEMA, "example": _example(status)}}
                response = {"description": status.phrase, "content": content}
                self.spec.components.response(status.name, response, lazy=True)


def _example(status: http.HTTPStatus) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": status.description or status.phrase,
        "errors": [],
        "request_id": "3f2b8c1e9d4a4f0c8b7a6d5e4c3b2a19",
    }


def set_headers(response: Response) -> Response:
    """What every reply carries."""
    response.headers["X-Request-ID"] = g.request_id
    if "media" in g:
        response.vary.add("Accept")
    return response


def vary_by_origin(response: Response) -> Response:
    """Keep caches from giving one origin's reply to another."""
    response.vary.add("Origin")
    return response


_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def start_request() -> None:
    """Give the request an id: the caller's own, if it is a plain word, or a new one."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class BodyGuard:
    """WSGI middleware: a client that stalls or leaves while it sends its body is given up.

    Without it a few half-sent requests hold every thread of the server, and a file that is cut
    off is stored as if it were whole.
    """

    def __init__(self, application: Callable[..., Any], seconds: int) -> None:
        self.application = application
        self.seconds = seconds

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        connection = environ.get("gunicorn.socket")
        if connection is not None:
            connection.settimeout(self.seconds)
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"] = _Body(environ["wsgi.input"], length)
        return self.application(environ, start_response)


class _Body:
    """A body as gunicorn reads it; one that ends early or breaks the chunked coding is an OSError.

    For werkzeug that is a client who has left: 400.
    """

    def __init__(self, stream: Any, length: int) -> None:
        self.stream = stream
        self.missing = length

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self.stream.read(size)
        except ParseException as error:
            raise OSError(str(error)) from error
        self.missing -= len(data)
        if not data and size != 0 and self.missing > 0:
            raise OSError("The body ended early.")
        return data
