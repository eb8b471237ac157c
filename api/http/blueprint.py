"""Blueprints whose routes are strict and documented by their decorators.

docs/adr/0006 lists the behaviour of flask-smorest that they replace.
"""

from __future__ import annotations

import functools
import http
from collections.abc import Callable
from typing import Any, cast

import marshmallow as ma
import orjson
from flask import Response, request
from flask_smorest import Blueprint
from flask_smorest.utils import unpack_tuple_response

from api.http.arguments import READERS, make_invalid
from api.http.media import JSON, MERGE_PATCH
from api.http.negotiation import negotiate
from api.http.openapi_finish import OFFERED
from api.http.openapi_headers import describe_header, describe_if_match

Handler = Callable[..., Any]
ALWAYS = frozenset({414, 431, 500, 503, 507})
"""Errors of every operation: those of the server, of its database and of its disk."""


class StrictBlueprint(Blueprint):
    """The routes of one noun: strict in query and Accept, documented by their decorators.

    The decorators of flask-smorest only document; our own code runs at a call (docs/adr/0011).
    The name of a function is its operationId.
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
        """Pass the fields of the body or query to the handler; `read` replaces the usual reader."""
        # One instance for all requests: making one copies every field.
        shape = schema()
        read_fields = read or READERS[location]
        documents = super().arguments(shape, location=location, **options)

        def decorator(function: Handler) -> Handler:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(*args, read_fields(shape), **kwargs)

            return _document(documents, wrapper)

        return decorator

    def response(self, status: int, schema: Any = None, **options: Any) -> Any:
        """Send the fields of a schema as JSON; a Response of the handler is sent as it is."""
        written = isinstance(schema, type)
        shape = schema() if written else schema
        documents = super().response(status, shape, **options)

        def decorator(function: Handler) -> Handler:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return make_reply(function(*args, **kwargs), status, shape)

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
            view_func = self.problems(422)(_refuse_query(view_func))
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
        parameter = describe_header(
            "If-None-Match", "ETag of the version you have; 304 if it is current."
        )
        function = self.alt_response(304, description="Not modified.")(function)
        return cast("Handler", self.doc(parameters=[parameter])(function))

    def patches(
        self,
        schema: type[ma.Schema],
        example: dict[str, Any],
        shape: dict[str, Any] | None = None,
    ) -> Callable[[Handler], Handler]:
        """Read and document a merge patch with If-Match, as JSON or merge-patch+json.

        `shape` documents a schema whose fields have any names.
        """
        parameter = describe_if_match("ETag of the version you read, or *. 428 without it.")
        body = {"schema": shape or schema, "example": example}
        content = dict.fromkeys((MERGE_PATCH, JSON), body)

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
        """Document an optional If-Match."""

        def decorator(function: Handler) -> Handler:
            function = self.problems(412)(function)
            return cast("Handler", self.doc(parameters=[describe_if_match(description)])(function))

        return decorator

    def problems(self, *statuses: int) -> Callable[[Handler], Handler]:
        """Document the errors of an operation."""

        def decorator(function: Handler) -> Handler:
            for status in statuses:
                function = self.alt_response(status, http.HTTPStatus(status).name)(function)
            return function

        return decorator


def _refusals(path: str, options: dict[str, Any]) -> set[int]:
    """List the errors of an operation that happen before its handler is called."""
    # A Host that is malformed or not ours; and a page of another origin (api/origins.py).
    by_host = set() if path.startswith("/health/") else {400, 421}
    by_page = set() if set(options.get("methods", ())) <= {"GET"} else {403}
    return by_host | by_page | ALWAYS


def _document(decorator: Any, function: Handler) -> Handler:
    """Document a handler as a decorator of flask-smorest does, without its wrapper."""
    function._apidoc = decorator(function)._apidoc  # type: ignore[attr-defined] # noqa: SLF001 - where the library keeps it
    return function


def make_reply(result: Any, status: int, schema: ma.Schema) -> Response:
    """Make a JSON reply from what a handler returned: a body, perhaps with status and headers."""
    if isinstance(result, Response):
        return result
    body, own_status, headers = unpack_tuple_response(result)
    return Response(write_json(schema, body), own_status or status, headers, content_type=JSON)


def write_json(schema: ma.Schema, body: Any) -> bytes:
    """Write the fields of a schema as JSON."""
    return orjson.dumps(schema.dump(body), option=orjson.OPT_SERIALIZE_NUMPY)


def _refuse_query(function: Handler) -> Handler:
    """Refuse a query where a handler takes none."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if request.environ.get("QUERY_STRING") and request.args:
            raise make_invalid({name: ["Unknown field."] for name in request.args}, "query")
        return function(*args, **kwargs)

    return wrapper
