"""Headers that keep browsers from doing more with a reply than they should."""

from __future__ import annotations

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


_LOWER = {name.lower(): (name, value) for name, value in DEFAULTS.items()}


def protect(headers: list[tuple[str, str]]) -> None:
    """Add the default headers that a reply does not have."""
    # Flask says so of every file, and a proxy could keep it for others.
    if _REVALIDATED in headers:
        headers.remove(_REVALIDATED)
    names = {name.lower() for name, _ in headers}
    headers += [pair for name, pair in _LOWER.items() if name not in names]


_REVALIDATED = ("Cache-Control", "no-cache")


def vary_by_accept(headers: list[tuple[str, str]]) -> None:
    """Note that a reply depends on Accept."""
    for place, (name, value) in enumerate(headers):
        if name.lower() == "vary":
            headers[place] = (name, f"{value}, Accept")
            return
    headers.append(("Vary", "Accept"))
