"""Content negotiation and conditional requests: Accept, If-None-Match, If-Match."""

from __future__ import annotations

import functools
import re
from typing import Any

from flask import Response, g, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from api.errors import Problem


def negotiate(*offered: str) -> str:
    """Choose the media type of the reply and keep it in `g.media`; 406 if none is accepted."""
    g.media = best = choose_media(request.environ, offered)
    if best is None:
        raise Problem(406, f"This address has {', '.join(offered)}.")
    return best


def choose_media(environ: dict[str, Any], offered: tuple[str, ...]) -> str | None:
    """Choose the media type of the reply, and note that it depends on Accept; None for a 406."""
    environ[VARIES] = True
    return _best(environ.get("HTTP_ACCEPT", ""), offered)


VARIES = "idealfit.varies"
"""Key of the WSGI environ of requests whose reply depends on Accept."""


@functools.lru_cache(maxsize=256)
def _best(accept: str, offered: tuple[str, ...]) -> str | None:
    """Choose the offered type that an Accept header prefers; cached, since clients repeat it."""
    asked = parse_accept_header(accept, MIMEAccept)
    if not asked:
        return offered[0]
    # Our types have no parameter but charset, so parameters in Accept are ignored.
    accepted = [(kind.partition(";")[0].strip(), q) for kind, q in asked]
    return MIMEAccept(accepted).best_match(offered)


def make_etag(version: int) -> str:
    """Make the ETag of a record from its version.

    Values never change, and every change of a record gives it another version.
    """
    return f'"{version}"'


def make_not_modified(version: int) -> Response | None:
    """Make a 304 if the client has this version; weak and strong tags compare alike (RFC 9110)."""
    tags = request.if_none_match
    known = tags.star_tag or tags.contains_weak(str(version))
    return Response(status=304, headers={"ETag": make_etag(version)}) if known else None


def read_if_match(*, required: bool) -> frozenset[int] | None:
    """Read the versions in If-Match, None for any; 428 if it is required and missing."""
    header = request.headers.get("If-Match")
    if header is None and required:
        raise Problem(428, "Send If-Match with the ETag of the record you read, or *.")
    if header is None or header.strip() == "*":
        return None
    # Only our own tags are versions; a weak one never matches (RFC 9110).
    tags = (tag or "" for tag in request.if_match.as_set())
    return frozenset(int(tag) for tag in tags if _VERSION.fullmatch(tag))


_VERSION = re.compile(r"[1-9][0-9]{0,17}")
