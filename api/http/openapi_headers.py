"""Headers of requests and replies in the OpenAPI document."""

from __future__ import annotations

from typing import Any

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
"""Headers of an error by its status, beside its id."""


EARLY = {
    414: "The address is longer than the server reads. Said before the request is one of ours.",
    431: "The header fields are longer than the server reads. Said before the request is ours.",
}
"""Errors that gunicorn answers before the request reaches the application."""


LINK = {"Link": {"description": "rel=next, if there is more.", "schema": {"type": "string"}}}


def describe_header(name: str, description: str) -> dict[str, Any]:
    """Describe an optional header of a request."""
    return {
        "in": "header",
        "name": name,
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }


def describe_if_match(description: str) -> dict[str, Any]:
    """Describe If-Match with the pattern of entity tags."""
    header = describe_header("If-Match", description)
    header["schema"]["pattern"] = _TAGS
    return header


# RFC 9110: an asterisk, or entity tags with commas between them.
_TAG = r'(W/)?"[^"]*"'
_TAGS = rf"^(\*|{_TAG}(\s*,\s*{_TAG})*)$"
