"""Headers that keep browsers from doing more with a reply than they should."""

from __future__ import annotations

from flask import Response

NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of replies that are no page."""

PAGE = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Of our pages. Swagger UI writes style attributes and shows its icons from data URLs."""

PICTURE = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""Of a picture in a window of its own: it runs and loads nothing, whatever stands in a name."""

PRIVATE = "private, no-cache"
"""Cache-Control: only the client may keep the reply, and it asks whether it is current."""

PUBLIC = "public, max-age=3600"
"""Of our own files, which change with the version only."""

DEFAULTS = {
    "Cache-Control": PRIVATE,
    "Content-Security-Policy": NOTHING,
    # A page that an origin of CORS allows asks with CORS, which this does not touch.
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer a browser would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""On every reply that does not say otherwise."""


def protect(response: Response) -> None:
    """Add the headers that a reply does not have."""
    if response.headers.get("Cache-Control") == "no-cache":
        # Flask says so of every file, and a proxy could keep it for others.
        del response.headers["Cache-Control"]
    for name, value in DEFAULTS.items():
        response.headers.setdefault(name, value)
