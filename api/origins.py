"""Checks of Host and Origin, before anything else of a request is read.

A web page can send requests to services on its visitor's machine, and through a name that resolves
to 127.0.0.1 it can read the replies. So a request needs one of our own names in `Host`, and one
that may change something needs our `Origin` or one that CORS allows (docs/adr/0018).
"""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Callable, Collection
from typing import Any, cast

from flask import Flask, Response, request
from flask_cors import CORS

from api.addresses import Authority, is_origin_of, parse_authority
from api.config import Settings
from api.errors import Problem
from api.problems import FOREIGN_ORIGIN, MALFORMED_HOST, UNKNOWN_HOST

EXPOSED = [
    "Content-Disposition",
    "ETag",
    "Location",
    "Link",
    "Preference-Applied",
    "Retry-After",
    "X-Request-ID",
]
"""Headers that a page of an allowed origin can read."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; a page of another origin cannot read their replies."""

HEALTH = "/health/"
"""Addresses that accept every Host, because a load balancer may use any name."""

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


Admit = Callable[[dict[str, Any]], Problem | None]
"""Function that returns why a request is refused, None if it is not; it looks once at each."""

_LOOKED = "idealfit.refusal"
"""Key of the WSGI environ where the answer is kept."""


def admission(settings: Settings) -> Admit:
    """Make the checks that every request passes before anything else of it is read.

    They need the WSGI environ only, because a small evaluation does not reach Flask.
    """
    is_ours = host_rule(settings.hosts)
    allowed = frozenset(settings.cors_origins)

    def look(environ: dict[str, Any]) -> Problem | None:
        try:
            if not environ["PATH_INFO"].startswith(HEALTH):
                check_host(environ, is_ours)
            if environ["REQUEST_METHOD"] not in SAFE:
                check_origin(environ, allowed)
        except Problem as problem:
            return problem
        return None

    def admit(environ: dict[str, Any]) -> Problem | None:
        if _LOOKED not in environ:
            environ[_LOOKED] = look(environ)
        return cast("Problem | None", environ[_LOOKED])

    return admit


def guard(app: Flask, settings: Settings, admit: Admit) -> None:
    """Refuse requests that are not admitted, and let pages of the allowed origins read replies.

    Call it before anything else that reads requests is registered.
    """

    def refuse() -> None:
        if problem := admit(request.environ):
            raise problem

    app.before_request(refuse)
    if settings.cors_origins:
        # The reply depends on the origin even where it is refused.
        app.after_request(_vary_by_origin)
        # As patterns, because the library takes brackets for a regular expression.
        exact = [re.compile(re.escape(origin) + r"\Z") for origin in settings.cors_origins]
        CORS(app, origins=exact, expose_headers=EXPOSED, max_age=600)


def _vary_by_origin(response: Response) -> Response:
    response.vary.add("Origin")
    return response


def host_rule(hosts: Collection[str]) -> Callable[[str], bool | None]:
    """Make a function that tells whether a `Host` is ours; it returns None for a malformed one."""
    machine = parse_authority(socket.gethostname())
    names = {"localhost", *hosts} | ({machine.host} if machine else set())

    @functools.lru_cache(maxsize=64)
    def is_ours(text: str) -> bool | None:
        place = parse_authority(text)
        if place is None:
            return None
        return place.is_ip or place.host in names or place.host.endswith(".localhost")

    return is_ours


def check_host(environ: dict[str, Any], is_ours: Callable[[str], bool | None]) -> None:
    """Refuse a host that is not ours with 421, a malformed or missing one with 400."""
    for text in _hosts(environ):
        ours = is_ours(text)
        if ours is None:
            raise Problem.of(
                MALFORMED_HOST,
                f"Send one Host header, a name or an address and perhaps a port; not {_cut(text)}.",
            )
        if not ours:
            raise Problem.of(
                UNKNOWN_HOST,
                f"Use a name that this service knows; {_cut(text)} is none of them."
                " Names beside localhost, addresses and the name of its machine are listed in"
                " IDEALFIT_HOSTS.",
            )


def _hosts(environ: dict[str, Any]) -> list[str]:
    """List the hosts that a request names: its Host header and an absolute target."""
    target = _ABSOLUTE.match(environ.get("RAW_URI", ""))
    found = [target[1]] if target else []
    # gunicorn joins several Host headers by a comma, which no host has.
    host = environ.get("HTTP_HOST")
    if host is not None:
        return [*found, host]
    # HTTP/1.0 has no Host, and no browser speaks it.
    return found if environ.get("SERVER_PROTOCOL") == "HTTP/1.0" else [*found, ""]


def check_origin(environ: dict[str, Any], allowed: Collection[str]) -> None:
    """Refuse a page of another origin with 403, unless CORS allows it."""
    origin = environ.get("HTTP_ORIGIN")
    if origin in allowed:
        return
    if origin is not None and not is_origin_of(origin, _own_place(environ)):
        raise _foreign(_cut(origin))
    if environ.get("HTTP_SEC_FETCH_SITE", "").strip().lower() == "cross-site":
        raise _foreign("another site")


def _own_place(environ: dict[str, Any]) -> Authority:
    # Without a Host there is none that an origin could equal.
    return parse_authority(environ.get("HTTP_HOST", "")) or Authority("", None)


def _foreign(whose: str) -> Problem:
    return Problem.of(
        FOREIGN_ORIGIN,
        f"Send this from the service's own pages or by a program; a page of {whose} may change"
        " nothing here unless IDEALFIT_CORS_ORIGINS lists its origin.",
    )


def _cut(text: str) -> str:
    return ascii(text[:80])
