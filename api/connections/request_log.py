"""Log lines and counters of requests."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import quote

from api import logs, metrics

log = logging.getLogger("api.request")

QUIET = frozenset({"/health/live", "/health/ready"})
"""Routes of frequent probes; those that succeed are logged at level debug."""

PATH_CHARACTERS = 300
"""Most characters of a path in the log."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def log_answer(environ: dict[str, Any], response: Any, seconds: float) -> None:
    """Log and count a reply of the application."""
    method, route, status = (
        environ["REQUEST_METHOD"],
        environ.get(metrics.ROUTE, ""),
        response.status_code,
    )
    metrics.count_request(method, route, status, seconds)
    level = logging.DEBUG if route in QUIET and status == 200 else logging.INFO  # noqa: PLR2004
    if not log.isEnabledFor(level):
        return
    logs.log_event(
        log,
        "answered",
        level,
        id=environ.get("idealfit.request_id"),
        method=method,
        route=route,
        path=quote(environ.get("PATH_INFO", "")[:PATH_CHARACTERS], encoding="latin-1"),
        status=status,
        seconds=round(seconds, 6),
        bytes=response.sent,
        client=environ.get("REMOTE_ADDR"),
        trace=parse_trace_id(environ.get("HTTP_TRACEPARENT")),
    )


def log_refusal(request: Any, client: Any, status: int, **more: Any) -> None:
    """Log and count a reply of the server itself; `request` is None if none was parsed."""
    method = getattr(request, "method", None) or ""
    metrics.count_request(method, "", status, 0.0)
    logs.log_event(
        log,
        "refused",
        logging.INFO,
        method=method,
        route="",
        path=quote((getattr(request, "path", None) or "")[:PATH_CHARACTERS]),
        status=status,
        client=str(client[0]) if client else None,
        **more,
    )


def parse_trace_id(header: str | None) -> str | None:
    """Read the trace id of a `traceparent` header (W3C Trace Context), None if malformed."""
    found = _TRACEPARENT.fullmatch(header or "")
    if not found:
        return None
    version, trace, parent, more = found.groups()
    has_ids = trace.strip("0") and parent.strip("0")
    return trace if has_ids and version != "ff" and (version != "00" or more is None) else None
