"""The format that a client accepts, and the versions of records it knows."""

from __future__ import annotations

import functools
import re

from flask import Response, g, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from api.errors import Problem


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
