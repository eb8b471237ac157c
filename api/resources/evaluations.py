"""Evaluations: points of a request mapped at once, in bounded time and memory."""

from __future__ import annotations

import functools
from typing import Any

import marshmallow as ma
import orjson
from flask import Response

from api import slots
from api.errors import Problem
from api.http.arguments import load
from api.http.bodies import expect_type, parse_json, read_coding, read_json_body
from api.http.downloads import complete_rows_reply
from api.http.media import JSON
from api.http.replies import SpooledBody
from api.jobs.common import list_fields
from api.jobs.functions import ChosenFunctions
from api.jobs.mappings import (
    Outcome,
    evaluate_few,
    evaluate_many,
    find_items,
    is_few,
    name_functions,
)
from api.limits import Limits, limits_in_force
from api.schemas.mappings import OutcomeReply
from api.store.mappings import make_point_dicts
from services.errors import Fact
from services.export.batches import POINTS, PointBatches
from services.mapping.items import Items
from services.mapping.options import MapOptions
from services.tables import NAME_LENGTH, Table

COLUMN = "y"
"""Name of the one column that the points of an evaluation have."""

_REPLY = OutcomeReply()

_END = b'],"next":null}}'
"""End of a reply, behind the last of the points."""

_BATCH = 1024
"""Items that are made into JSON at once."""

_OTHER_VALUES = 64
"""Commas of a body that do not stand between numbers, at most."""

_NUMBER_BYTES = 24
"""Of the longest float64 as JSON, -2.2250738585072014e-308."""

_POINT_BYTES = len(
    b'{"point":,"column":"y","x":,"y":,"training":,"ideal":,"deviation":,"limit":,"reason":null},'
)
_FUNCTION_BYTES = len(
    b'{"training":,"ideal":,"limit":,"n_assignments":,"deviation_mean":,"deviation_max":},'
)
_HEAD_BYTES = 1024
"""More than the rest of a reply takes."""

_LONGEST_ITEM = _HEAD_BYTES + 2 * 6 * NAME_LENGTH
"""More than a point or a function takes, whatever its names: a character has at most six bytes."""


def read_points(schema: ma.Schema) -> Any:
    """Read the body of an evaluation; 413 before it is parsed if it has too many numbers."""
    expect_type(JSON)
    limits = limits_in_force()
    size = slots.receive(limits.json_body_bytes)
    slots.enter_with(size, is_packed=read_coding() is not None)
    return parse_points(schema, read_json_body(), limits)


def parse_points(schema: ma.Schema, data: bytes, limits: Limits) -> Any:
    """Parse the body of an evaluation; 413 before that if it has too many numbers."""
    # As many numbers as commas, about: a list of them takes ten times the room of an array.
    if data.count(b",") > 2 * limits.points + _OTHER_VALUES:
        raise _too_many(f"more than {limits.points}", limits)
    fields = parse_json(data, limits)
    # The text is the largest of all that a request holds.
    del data
    return load(schema, fields, "json")


def check_points(body: dict[str, Any], limits: Limits) -> Table:
    """Return the points of a body; 422 unless there are as many x as y, 413 for too many."""
    x, y = body["x"], body["y"]
    if x.size != y.size or not x.size:
        detail = f"x has {x.size} numbers and y {y.size}; send as many of both, and at least one."
        raise Problem(422, detail, [Fact(detail, "ragged", pointer="/y")])
    if x.size > limits.points:
        raise _too_many(str(x.size), limits)
    return Table(x, y[None], (COLUMN,))


def _too_many(found: str, limits: Limits) -> Problem:
    detail = (
        f"Post a mapping instead: here are {found} points, and an evaluation takes {limits.points}."
    )
    return Problem(413, detail, [Fact(detail, "too_many", pointer="/x")])


def answer(test: Table, functions: ChosenFunctions, options: MapOptions, limits: Limits) -> Any:
    """Return the fields of a reply, or a long reply as it was written."""
    short = answer_few(test, functions, options, limits)
    if short is not None:
        return short
    _enter_if_many(test, functions)
    return _written(test, functions, options)


def answer_with_file(
    test: Table, functions: ChosenFunctions, options: MapOptions, limits: Limits, stem: str
) -> Response:
    """Return the points of a reply as a file, in bounded memory."""
    _check_size(test.x.size, functions, options, limits)
    _enter_if_many(test, functions)
    batches = PointBatches([COLUMN], name_functions(functions, options))
    found = find_items(test, functions, options)
    return complete_rows_reply(POINTS, map(batches.batch, found), stem)


def _enter_if_many(test: Table, functions: ChosenFunctions) -> None:
    if test.x.size * len(functions.matches) > slots.SMALL_NUMBERS:
        slots.enter()


def answer_few(
    test: Table, functions: ChosenFunctions, options: MapOptions, limits: Limits
) -> dict[str, Any] | None:
    """Return the fields of a short reply, None for a long one; 413 for one that is too long."""
    _check_size(test.x.size, functions, options, limits)
    if not is_few(test, functions, options):
        return None
    outcome, rows = evaluate_few(test, functions, options)
    return _fields(options, outcome, make_point_dicts(rows, [COLUMN], outcome.functions))


def _check_size(
    points: int, functions: ChosenFunctions, options: MapOptions, limits: Limits
) -> None:
    """Refuse what may be too much at once, before anything is computed."""
    count = len(functions.matches)
    cells, most = points * count, limits.json_values
    if cells > most:
        detail = f"Post a mapping instead; points times functions is {cells}, at most {most} here."
        raise Problem(413, detail)
    most = limits.reply_bytes
    if (cells + count + 1) * _LONGEST_ITEM <= most:
        return
    length = longest_reply(points, name_functions(functions, options), options)
    if length > most:
        detail = f"Post a mapping instead; the reply may take {length} bytes, at most {most} here."
        raise Problem(413, detail)


def longest_reply(points: int, named: list[dict[str, Any]], options: MapOptions) -> int:
    """Return the bytes of a reply in which every function admits every point."""
    known = [
        sum(len(orjson.dumps(function[field])) for field in ("training", "ideal", "limit"))
        for function in named
    ]
    items = [_POINT_BYTES + len(str(points)) + 3 * _NUMBER_BYTES + length for length in known]
    shown = (_FUNCTION_BYTES + len(str(points)) + 2 * _NUMBER_BYTES + length for length in known)
    of_a_point = sum(items) if options.policy == "all" else max(items)
    return _HEAD_BYTES + sum(shown) + points * of_a_point


def _fields(options: MapOptions, outcome: Outcome, items: list[Any]) -> dict[str, Any]:
    return list_fields(options) | list_fields(outcome) | {"points": {"items": items, "next": None}}


def _written(test: Table, functions: ChosenFunctions, options: MapOptions) -> Response:
    """Write the items of a long reply as they are found."""
    named = name_functions(functions, options)
    with SpooledBody() as written:
        keep = functools.partial(_write, written, named)
        outcome = evaluate_many(test, functions, options, keep)
        head = orjson.dumps(_REPLY.dump(_fields(options, outcome, []))).removesuffix(_END)
        return written.reply(JSON, head, _END)


def _write(written: SpooledBody, named: list[dict[str, Any]], items: Items) -> None:
    """Write items as parts of one array."""
    for start in range(0, len(items), _BATCH):
        rows = items[start : start + _BATCH].tolist()
        text = orjson.dumps(make_point_dicts(rows, [COLUMN], named))[1:-1]
        written.write(b"," + text if written.size else text)
