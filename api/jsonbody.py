"""JSON from clients: its arrays and texts are counted before it is parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from api.limits import Limits
from services.errors import Fact

SHOWN = 40
"""Characters of what a client sent that an error repeats."""


class JSONError(Exception):
    """A refused JSON text, and the status of the reply."""

    def __init__(self, status: int, detail: str, facts: Sequence[Fact] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.facts = tuple(facts)


def parse(data: bytes, most: Limits) -> Any:
    """Parse JSON; JSONError if it is malformed, too large, or gives one name two values."""
    if not data:
        raise JSONError(400, "The body is empty; send a JSON object.")
    _refuse_many(data, most)
    try:
        value = orjson.loads(data)
        texts = _count_texts(value, most.json_depth)
        # More quotes than texts: escaped ones, or a name given twice, of which orjson keeps one.
        if data.count(b'"') != 2 * texts and _mask(data).count(b'"') != 2 * texts:
            _refuse_twice(data)
    except orjson.JSONDecodeError as error:
        raise JSONError(400, f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise JSONError(422, f"The body is nested deeper than {most.json_depth} levels.") from None
    return _with_minus_zeros(data) if _MINUS_ZERO.search(data) else value


def _refuse_many(data: bytes, most: Limits) -> None:
    """Refuse too many arrays or texts before parsing: each takes many times its bytes."""
    arrays = data.count(b"[") + data.count(b"{")
    texts = data.count(b'"') // 2
    for found, limit, what in (
        (arrays, most.json_arrays, "arrays and objects"),
        (texts, most.json_texts, "names and texts"),
    ):
        if found > limit:
            detail = f"The body has about {found} {what}; JSON may have {limit}."
            fact = Fact(detail, "too_many", pointer="")
            raise JSONError(413, f"{detail} Send a file of another format instead.", [fact])


def _count_texts(value: Any, depth: int) -> int:
    """Count the names and texts in a value; RecursionError if it is too deep.

    Arrays that begin with a number are skipped.
    """
    if not isinstance(value, dict | list):
        return int(isinstance(value, str))
    if depth == 0:
        raise RecursionError
    texts, items = 0, value
    if isinstance(value, dict):
        texts, items = len(value), list(value.values())
    elif value and (value[0] is None or isinstance(value[0], int | float)):
        return 0
    kinds = list(map(type, items))
    texts += kinds.count(str)
    if dict in kinds or list in kinds:
        inner = (item for item in items if isinstance(item, dict | list))
        texts += sum(_count_texts(item, depth - 1) for item in inner)
    return texts


_MINUS_ZERO = re.compile(rb"-0(?![.eE0-9])")


_ESCAPED = ((b"\\\\", b"\x01"), (b'\\"', b"\x02"))
_EXPONENTS = ((b"e-", b"\x03"), (b"E-", b"\x04"))
_MINUS_IN_TEXT = b"\x05"
"""Characters that valid JSON cannot hold; each replaces one that disturbs a search."""


def _with_minus_zeros(data: bytes) -> Any:
    """Parse valid JSON with -0 as -0.0, which orjson reads as 0."""
    text = np.frombuffer(bytearray(_mask(data)), dtype=np.uint8)
    is_inside = np.logical_xor.accumulate(text == ord('"'))
    text[is_inside & (text == ord("-"))] = ord(_MINUS_IN_TEXT)
    numbers = text.tobytes()
    for what, sign in _EXPONENTS:
        numbers = numbers.replace(what, sign)
    for end in b",]} \n\r\t":
        numbers = numbers.replace(b"-0%c" % end, b"-0.0%c" % end)
    for what, sign in (*_EXPONENTS, (b"-", _MINUS_IN_TEXT), *reversed(_ESCAPED)):
        numbers = numbers.replace(sign, what)
    return orjson.loads(numbers)


def _mask(data: bytes) -> bytes:
    """Replace escaped backslashes and quotes, so that every quote begins or ends a text."""
    for what, sign in _ESCAPED:
        data = data.replace(what, sign)
    return data


def _refuse_twice(data: bytes) -> None:
    """Refuse a name that has two values."""
    # Numbers stay text: only names are looked at.
    json.loads(data, object_pairs_hook=_unique, parse_int=str, parse_float=str)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            shown = repr(shorten(name))
            fact = Fact(f"{shown} stands twice.", "duplicate_name", column=shorten(name))
            detail = f"The name {shown} stands twice in one JSON object; names must be unique."
            raise JSONError(400, detail, [fact])
        names.add(name)


def shorten(text: str) -> str:
    """Cut a text of a client for an error message."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
