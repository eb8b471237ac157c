"""Pages of lists, and the cursors between them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import request
from sqlalchemy.orm import Session

from api.errors import Problem
from api.schemas.base import LARGEST
from api.store.base import Record
from api.store.lists import Page, read_page
from services.errors import Fact


def read_records_page(session: Session, model: type[Record], query: dict[str, Any]) -> Page:
    """Read the page of records that the query of a list asks for."""
    sort = query.pop("sort")
    kind = str if sort.endswith("name") else datetime
    cursor = decode_cursor(query.pop("cursor"), str, kind, str)
    if cursor and cursor.pop(0) != sort:
        raise _foreign_cursor()
    limit = query.pop("limit")
    words = query.pop("contains")
    page = read_page(
        session, model, filters=query, words=words, sort=sort, after=cursor, limit=limit
    )
    return replace(page, next=page.next and [sort, *page.next])


def make_listing(page: Page, items: Sequence[Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Make the body of a list, and the Link header to its next page."""
    cursor = encode_cursor(page.next)
    headers = {}
    if cursor is not None:
        query = [(k, v) for k, v in request.args.items(multi=True) if k != "cursor"]
        target = f"{request.script_root}{request.path}?{urlencode([*query, ('cursor', cursor)])}"
        headers["Link"] = f'<{target}>; rel="next"'
    return {"items": items, "next": cursor}, headers


def encode_cursor(key: Sequence[Any] | None) -> str | None:
    """Encode a key as an opaque word; None stays None."""
    if key is None:
        return None
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode_cursor(text: str | None, *kinds: type) -> list[Any] | None:
    """Decode a cursor; 422 unless this service made it."""
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
