"""Headers that keep browsers from doing more with a reply than they should."""

from __future__ import annotations

from flask import Response

NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of replies that are not pages."""

PAGE = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy of our pages; Swagger UI needs style attributes and data URLs."""

PICTURE = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""Content-Security-Policy of a picture shown by itself: it runs and loads nothing."""

PRIVATE = "private, no-cache"
"""Cache-Control of records: only the client may keep a reply, and it revalidates it."""

PUBLIC = "public, max-age=3600"
"""Cache-Control of our own files, which change only with the version."""

DEFAULTS = {
    "Cache-Control": PRIVATE,
    "Content-Security-Policy": NOTHING,
    # A page that an origin of CORS allows asks with CORS, which this does not touch.
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer a browser would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every reply that does not set them itself."""


def protect(response: Response) -> None:
    """Add the default headers that a reply does not have."""
    if response.headers.get("Cache-Control") == "no-cache":
        # Flask says so of every file, and a proxy could keep it for others.
        del response.headers["Cache-Control"]
    for name, value in DEFAULTS.items():
        response.headers.setdefault(name, value)
